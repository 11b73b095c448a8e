package config

import (
	"errors"
	"strings"
	"testing"
)

// What is asked for in vain is refused, with what it would work with; a default,
// a preset's value or what a printed configuration repeats is not.
func TestInVain(t *testing.T) {
	for pairs, want := range map[string]string{
		"beta2=0.9 optimizer=sgd":                          "beta2=0.9: 0.9 does nothing here: it needs optimizer adamw",
		"beta2=0.9 optimizer=lars":                         "optimizer adamw",
		"trust=0.01 optimizer=sgd":                         "optimizer lars",
		"trust=0.01 optimizer=adamw":                       "optimizer lars",
		"no_decay=vectors weight_decay=0":                  "weight_decay above 0",
		"temperature=0.5 method=ce":                        "a method that contrasts, which selfcon-s, selfcon-m, selfcon-su, selfcon-mu, supcon, supcon-s, simclr and selfcon do",
		"base_temperature=0.5 method=kd":                   "a method that contrasts",
		"projection_dim=64 method=subnet_ce":               "a method that contrasts",
		"sub=large method=supcon":                          "exits, which selfcon-s, ",
		"crop_min=0.7 augment=none":                        "augment strong or weak",
		"flip=false augment=none":                          "augment strong or weak",
		"warmup_epochs=99999 epochs=1":                     "at most half of the 1 epoch",
		"warmup_epochs=6 epochs=10":                        "at most half of the 10 epochs",
		"schedule=step milestones=60,80 epochs=80":         "never fall at 80, as the training is done after 80 epochs",
		"trust=0.01 preset=small-sample-supcon":            "optimizer lars",
		"crop_min=0.7 augment=none preset=small-sample-ce": "augment strong or weak",

		"beta2=0.9 optimizer=adamw":                        "",
		"trust=0.01 optimizer=lars":                        "",
		"no_decay=vectors weight_decay=0 optimizer=lars":   "",
		"temperature=0.5 method=selfcon":                   "",
		"temperature=0.1 method=ce":                        "",
		"sub=large method=kd":                              "",
		"beta2=0.999 optimizer=sgd":                        "",
		"augment=none preset=small-sample-ce":              "",
		"crop_min=0.5 augment=none preset=small-sample-ce": "",
		"epochs=1 preset=small-sample-ce":                  "",
		"warmup_epochs=5 epochs=10":                        "",
		"schedule=step milestones=60,79 epochs=80":         "",
		"schedule=step milestones=60,80":                   "",
	} {
		r, err := Resolve(Sources{Pairs: strings.Fields(pairs)})
		var wrong *Error
		if want != "" {
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) || wrong.Where == "" {
				t.Errorf("%s: %v, want %q", pairs, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", pairs, err)
			continue
		}
		text, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse("c.yaml", text); err != nil || again.CropMin != r.Run.CropMin || again.Model.Sub != r.Run.Model.Sub {
			t.Errorf("%s: printed and read again: %v", pairs, err)
		}
	}
	// Every setting of the table is refused somewhere, works somewhere and has a
	// default to go back to.
	for _, u := range uses {
		for _, key := range u.keys {
			if byKey[key] == nil {
				t.Fatalf("no setting %s", key)
			}
			idle := Default()
			idle.Method, idle.Optimizer, idle.Augment, idle.WeightDecay, idle.Model.Exits = "ce", "sgd", "none", 0, nil
			if idle.idle(key) == "" {
				t.Errorf("%s is not idle", key)
			}
			switch p := byKey[key].field(&idle).(type) {
			case *string:
				*p = "other"
			case *int:
				*p = 7
			case *float64:
				*p = 0.123
			case *bool:
				*p = !*p
			}
			d := Default()
			if plain, keys := idle.Plain(); len(keys) != 1 || keys[0] != key || byKey[key].Text(&plain) != byKey[key].Text(&d) {
				t.Errorf("%s: %v, %s", key, keys, byKey[key].Text(&plain))
			}
		}
	}
	if MethodHeeds("ce", "temperature") || !MethodHeeds("selfcon", "temperature") || MethodHeeds("supcon", "sub") || !MethodHeeds("kd", "sub") || !MethodHeeds("ce", "trust") {
		t.Error("what a method heeds")
	}
}
