package compare

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"selfcon/eval"
)

func TestCases(t *testing.T) {
	p := Plan{Methods: []string{"ce", "supcon"}, Budgets: []Budget{{Epochs: 5}, {Epochs: 10}}, Seeds: []uint64{3, 4}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range p.Cases() {
		names = append(names, c.Name())
	}
	want := []string{"ce-5ep-s3", "supcon-5ep-s3", "ce-10ep-s3", "supcon-10ep-s3", "ce-5ep-s4", "supcon-5ep-s4", "ce-10ep-s4", "supcon-10ep-s4"}
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	for _, bad := range []Plan{
		{},
		{Methods: []string{"ce", "ce"}, Budgets: p.Budgets, Seeds: p.Seeds},
		{Methods: p.Methods, Budgets: []Budget{{}}, Seeds: p.Seeds},
		{Methods: p.Methods, Budgets: []Budget{{Epochs: 1, Seconds: 1}}, Seeds: p.Seeds},
		{Methods: p.Methods, Budgets: []Budget{{Seconds: 9}, {Seconds: 9}}, Seeds: p.Seeds},
		{Methods: p.Methods, Budgets: p.Budgets, Seeds: []uint64{1, 1}},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

func TestEpochsIn(t *testing.T) {
	for _, x := range []struct {
		seconds, batches int
		step             time.Duration
		want             int
	}{{60, 100, 50 * time.Millisecond, 12}, {58, 100, 50 * time.Millisecond, 12}, {1, 100, time.Second, 1}, {1, 1, 0, 1}} {
		if got := EpochsIn(x.seconds, x.step, x.batches); got != x.want {
			t.Errorf("%+v: %d epochs", x, got)
		}
	}
}

func TestStat(t *testing.T) {
	s := NewStat([]float64{2, 4, 4, 4, 5, 5, 7, 9}) // squares of the differences sum up to 32
	if s.Mean != 5 || math.Abs(s.Deviation-math.Sqrt(32./7)) > 1e-15 {
		t.Errorf("%+v", s)
	}
	if s := NewStat([]float64{3}); s.Mean != 3 || s.Deviation != 0 || s.text(1, 1) != "3.0" {
		t.Errorf("%+v", s)
	}
}

func TestReport(t *testing.T) {
	p := Plan{Methods: []string{"ce", "selfcon-s"}, Budgets: []Budget{{Epochs: 5}}, Seeds: []uint64{1, 2}}
	judged := func(top ...float64) []Judged {
		names := [][]string{{"backbone"}, {"sub-network 2", "backbone", "ensemble"}}[len(top)/3]
		var table eval.Table
		for i, x := range top {
			table = append(table, eval.Row{Name: names[i], Top1: x})
		}
		return []Judged{{By: "linear probe", Table: table}}
	}
	outcomes := []Outcome{
		{Case: Case{"ce", p.Budgets[0], 1}, Epochs: 5, Seconds: 20, Peak: 100e6, Speed: 1000, Engine: "a", Split: "test", Images: 50, Judged: judged(0.5)},
		{Case: Case{"selfcon-s", p.Budgets[0], 1}, Epochs: 5, Seconds: 30, Peak: 120e6, Speed: 900, Engine: "a", Split: "test", Images: 50, Judged: judged(0.4, 0.5, 0.6)},
		{Case: Case{"ce", p.Budgets[0], 2}, Epochs: 5, Seconds: 22, Peak: 100e6, Speed: 1000, Engine: "b", Split: "test", Images: 50, Judged: judged(0.7)},
	}
	r, err := NewReport(p, map[string]string{"ce": "selfcon train --method=ce"}, outcomes)
	if err != nil {
		t.Fatal(err)
	}
	md := r.Markdown()
	for _, want := range []string{
		"| method | epochs | sub-network 2 | backbone | ensemble | seconds | peak MB | images/s | seeds |",
		"| ce | 5 | – | 60.00 ± 14.14 | – | 21.0 ± 1.4 | 100 ± 0 | 1000 ± 0 | 2 |",
		"| selfcon-s | 5 | 40.00 | 50.00 | 60.00 | 30.0 | 120 | 900 | 1 |",
		"1 of 4 trainings are not done", "different engines (a; b)", "- ce: `selfcon train --method=ce`",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("%s\nlacks %s", md, want)
		}
	}
	if !strings.Contains(r.String(), "60.00 ± 14.14") {
		t.Error(r.String())
	}
	if r.Off != nil || strings.Contains(md, "Off their budget") {
		t.Errorf("%v, %s", r.Off, md)
	}
	// Budgets of time are shown, and who was far off.
	timed := Plan{Methods: p.Methods, Budgets: []Budget{{Seconds: 20}}, Seeds: p.Seeds}
	var took []Outcome
	for i, o := range outcomes {
		o.Budget = timed.Budgets[0]
		o.Seconds = []float64{22, 17, 22.1}[i]
		took = append(took, o)
	}
	if r, err = NewReport(timed, nil, took); err != nil || !slices.Equal(r.Off, []string{"selfcon-s-20s-s1", "ce-20s-s2"}) {
		t.Errorf("%v, %v", r.Off, err)
	}
	for _, want := range []string{"| method | budget | epochs |", "| ce | 20s | 5 |", "by more than 10 %, so that they do not compare by it: selfcon-s-20s-s1 17.0 s, ce-20s-s2 22.1 s."} {
		if md := r.Markdown(); !strings.Contains(md, want) {
			t.Errorf("%s\nlacks %s", md, want)
		}
	}
	outcomes[2].Images = 40
	if _, err := NewReport(p, nil, outcomes); err == nil {
		t.Error("outcomes of different splits were put together")
	}
	outcomes[2].Images, outcomes[2].Epochs = 50, 6
	if _, err := NewReport(p, nil, outcomes); err == nil {
		t.Error("outcomes of different lengths were put together")
	}
}
