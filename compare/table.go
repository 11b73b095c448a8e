package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"selfcon/eval"
	"selfcon/internal/columns"
)

// Outcome is what one training cost and how its exits were judged.
type Outcome struct {
	Case
	Epochs  int      `json:"epochs"`
	Seconds float64  `json:"seconds"`      // of training
	Peak    int64    `json:"peak_bytes"`   // resident set of the training's process
	Speed   float64  `json:"images_per_s"` // labelled images
	Engine  string   `json:"engine"`
	Split   string   `json:"split"` // that the exits were judged on
	Images  int      `json:"images"`
	Judged  []Judged `json:"judged"`
}

// budgetSlack is the share of a budget of seconds that a training may take more or
// less and still be compared with others by it.
const budgetSlack = 0.1

// OffBudget is whether a training took much more or less than its budget of
// seconds, if it has one.
func (o Outcome) OffBudget() bool {
	return o.Budget.Seconds > 0 && math.Abs(o.Seconds-float64(o.Budget.Seconds)) > budgetSlack*float64(o.Budget.Seconds)
}

// Judged is how the exits did by one way of judging.
type Judged struct {
	By    string     `json:"by"` // such as "linear probe"
	Table eval.Table `json:"table"`
}

// Stat is a figure over the seeds.
type Stat struct {
	Mean      float64   `json:"mean"`
	Deviation float64   `json:"deviation"` // of the sample (divided by n−1); 0 of one value
	Values    []float64 `json:"values"`    // in the order of the seeds
}

// NewStat sums up values, of which there is at least one.
func NewStat(values []float64) Stat {
	s := Stat{Values: values}
	for _, v := range values {
		s.Mean += v / float64(len(values))
	}
	if len(values) > 1 {
		sum := 0.0
		for _, v := range values {
			sum += (v - s.Mean) * (v - s.Mean)
		}
		s.Deviation = math.Sqrt(sum / float64(len(values)-1))
	}
	return s
}

// text is the mean in the given unit, with its deviation if there are several
// values.
func (s Stat) text(unit float64, digits int) string {
	if len(s.Values) < 2 {
		return fmt.Sprintf("%.*f", digits, s.Mean/unit)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, s.Mean/unit, digits, s.Deviation/unit)
}

// Summary is a method within a budget, over the seeds.
type Summary struct {
	Method  string        `json:"method"`
	Budget  Budget        `json:"budget"`
	Epochs  int           `json:"epochs"`
	Seeds   []uint64      `json:"seeds"` // that are done
	Seconds Stat          `json:"seconds"`
	Peak    Stat          `json:"peak_bytes"`
	Speed   Stat          `json:"images_per_s"`
	Judged  []JudgedStats `json:"judged"`
}

// JudgedStats is how the exits did by one way of judging, over the seeds.
type JudgedStats struct {
	By    string      `json:"by"`
	Exits []ExitStats `json:"exits"` // the ensemble's last
}

// ExitStats are the figures of an exit or the ensemble, as fractions.
type ExitStats struct {
	Name string `json:"name"`
	Top1 Stat   `json:"top1"`
	ECE  Stat   `json:"ece"`
}

// Report is a comparison as far as it is done.
type Report struct {
	Plan     Plan              `json:"plan"`
	Settings map[string]string `json:"settings"` // by method, what it was trained with
	Engines  []string          `json:"engines"`  // more than one: not all figures are of the same arithmetic
	Split    string            `json:"split"`
	Images   int               `json:"images"` // of the split
	Missing  int               `json:"missing"`
	Rows     []Summary         `json:"rows"`
	Off      []string          `json:"off_budget,omitempty"` // names of trainings that took much more or less than their budget of seconds
	Outcomes []Outcome         `json:"outcomes"`
}

// NewReport sums up the outcomes of a plan, of which some may be missing.
func NewReport(p Plan, settings map[string]string, outcomes []Outcome) (*Report, error) {
	r := &Report{Plan: p, Settings: settings, Missing: len(p.Cases()) - len(outcomes), Outcomes: outcomes}
	for _, o := range outcomes {
		if !slices.Contains(r.Engines, o.Engine) {
			r.Engines = append(r.Engines, o.Engine)
		}
		if r.Split == "" {
			r.Split, r.Images = o.Split, o.Images
		}
		if o.Split != r.Split || o.Images != r.Images {
			return nil, fmt.Errorf("compare: %s was judged on %d images of %s, others on %d of %s", o.Name(), o.Images, o.Split, r.Images, r.Split)
		}
	}
	for _, o := range outcomes {
		if o.OffBudget() {
			r.Off = append(r.Off, o.Name())
		}
	}
	for _, b := range p.Budgets {
		for _, m := range p.Methods {
			var of []Outcome
			for _, o := range outcomes {
				if o.Method == m && o.Budget == b {
					of = append(of, o)
				}
			}
			if len(of) == 0 {
				continue
			}
			s, err := summarize(of)
			if err != nil {
				return nil, err
			}
			r.Rows = append(r.Rows, s)
		}
	}
	return r, nil
}

// summarize sums up the outcomes of one method and budget.
func summarize(of []Outcome) (Summary, error) {
	first := of[0]
	s := Summary{Method: first.Method, Budget: first.Budget, Epochs: first.Epochs}
	over := func(f func(Outcome) float64) Stat {
		var v []float64
		for _, o := range of {
			v = append(v, f(o))
		}
		return NewStat(v)
	}
	for _, o := range of {
		s.Seeds = append(s.Seeds, o.Seed)
		if o.Epochs != first.Epochs || len(o.Judged) != len(first.Judged) {
			return s, fmt.Errorf("compare: %s took %d epochs and was judged in %d ways, %s %d and %d", o.Name(), o.Epochs, len(o.Judged), first.Name(), first.Epochs, len(first.Judged))
		}
		for i, j := range o.Judged {
			if j.By != first.Judged[i].By || len(j.Table) != len(first.Judged[i].Table) {
				return s, fmt.Errorf("compare: %s was judged by %s at %d exits, %s by %s at %d", o.Name(), j.By, len(j.Table), first.Name(), first.Judged[i].By, len(first.Judged[i].Table))
			}
		}
	}
	s.Seconds = over(func(o Outcome) float64 { return o.Seconds })
	s.Peak = over(func(o Outcome) float64 { return float64(o.Peak) })
	s.Speed = over(func(o Outcome) float64 { return o.Speed })
	for i, j := range first.Judged {
		stats := JudgedStats{By: j.By}
		for k, row := range j.Table {
			stats.Exits = append(stats.Exits, ExitStats{
				Name: row.Name,
				Top1: over(func(o Outcome) float64 { return o.Judged[i].Table[k].Top1 }),
				ECE:  over(func(o Outcome) float64 { return o.Judged[i].Table[k].ECE }),
			})
		}
		s.Judged = append(s.Judged, stats)
	}
	return s, nil
}

// grid is a table as text: its header first.
type grid struct {
	title string
	rows  [][]string
}

// grids are the report's tables: one a way of judging, in the order in which
// they come; the first has what the training cost besides.
func (r *Report) grids() []grid {
	var ways []string
	for _, s := range r.Rows {
		for _, j := range s.Judged {
			if !slices.Contains(ways, j.By) {
				ways = append(ways, j.By)
			}
		}
	}
	var out []grid
	for i, way := range ways {
		g := grid{title: "Top-1 in %, " + way}
		var exits []string
		for _, s := range r.Rows {
			exits = union(exits, s.exits(way))
		}
		head := []string{"method", "epochs"}
		if r.timed() {
			head = []string{"method", "budget", "epochs"}
		}
		head = append(head, exits...)
		if i == 0 {
			head = append(head, "seconds", "peak MB", "images/s", "seeds")
		}
		g.rows = append(g.rows, head)
		for _, s := range r.Rows {
			if len(s.exits(way)) == 0 {
				continue
			}
			row := []string{s.Method, fmt.Sprint(s.Epochs)}
			if r.timed() {
				row = []string{s.Method, s.Budget.String(), fmt.Sprint(s.Epochs)}
			}
			for _, x := range exits {
				row = append(row, s.top1(way, x))
			}
			if i == 0 {
				row = append(row, s.Seconds.text(1, 1), s.Peak.text(1e6, 0), s.Speed.text(1, 0), fmt.Sprint(len(s.Seeds)))
			}
			g.rows = append(g.rows, row)
		}
		out = append(out, g)
	}
	return out
}

// timed is whether there are budgets of seconds.
func (r *Report) timed() bool {
	return slices.ContainsFunc(r.Plan.Budgets, func(b Budget) bool { return b.Seconds > 0 })
}

// exits are the names of what was judged in a way.
func (s Summary) exits(way string) []string {
	var out []string
	for _, j := range s.Judged {
		if j.By == way {
			for _, x := range j.Exits {
				out = append(out, x.Name)
			}
		}
	}
	return out
}

func (s Summary) top1(way, exit string) string {
	for _, j := range s.Judged {
		for _, x := range j.Exits {
			if j.By == way && x.Name == exit {
				return x.Top1.text(0.01, 2)
			}
		}
	}
	return "–"
}

// union adds the names of b that a lacks: sub-networks before the backbone, the
// ensemble last, as all tables of exits have them.
func union(a, b []string) []string {
	for i, x := range b {
		if slices.Contains(a, x) {
			continue
		}
		at := len(a)
		for _, later := range b[i+1:] {
			if k := slices.Index(a, later); k >= 0 {
				at = min(at, k)
			}
		}
		a = slices.Insert(a, at, x)
	}
	return a
}

// notes are what a reader of the tables has to know.
func (r *Report) notes() []string {
	note := fmt.Sprintf("%d images of the %s split.", r.Images, r.Split)
	if len(r.Plan.Seeds) > 1 {
		note += " Mean ± standard deviation over the seeds."
	}
	notes := []string{note}
	if r.Missing > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d trainings are not done yet.", r.Missing, len(r.Plan.Cases())))
	}
	if len(r.Off) > 0 {
		var off []string
		for _, o := range r.Outcomes {
			if o.OffBudget() {
				off = append(off, fmt.Sprintf("%s %.1f s", o.Name(), o.Seconds))
			}
		}
		notes = append(notes, fmt.Sprintf("Off their budget of seconds by more than %.0f %%, so that they do not compare by it: %s.", 100*budgetSlack, strings.Join(off, ", ")))
	}
	if len(r.Engines) > 1 {
		notes = append(notes, fmt.Sprintf("The trainings ran on different engines (%s), whose rounding and speed differ.", strings.Join(r.Engines, "; ")))
	}
	return notes
}

// String renders the tables for a terminal.
func (r *Report) String() string {
	var b strings.Builder
	for _, g := range r.grids() {
		fmt.Fprintln(&b, g.title)
		w := columns.New(&b)
		for _, row := range g.rows {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		w.Flush() // a strings.Builder does not fail
		fmt.Fprintln(&b)
	}
	b.WriteString(strings.Join(r.notes(), "\n") + "\n")
	return b.String()
}

// Markdown renders the tables and what was trained with.
func (r *Report) Markdown() string {
	var b strings.Builder
	for _, g := range r.grids() {
		fmt.Fprintf(&b, "**%s**\n\n", g.title)
		for i, row := range g.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintln(&b, "|"+strings.Repeat(" --- |", len(row)))
			}
		}
		fmt.Fprintln(&b)
	}
	b.WriteString(strings.Join(r.notes(), " ") + "\n\nTrained with:\n\n")
	for _, m := range r.Plan.Methods {
		fmt.Fprintf(&b, "- %s: `%s`\n", m, r.Settings[m])
	}
	return b.String()
}
