package config

import (
	"fmt"
	"slices"
	"strings"

	"selfcon/loss"
)

// uses is the one table of settings that do nothing beside some others: what has
// to be so, and in words. To ask for one of them in vain is a mistake, see
// CheckGiven; what asks for another is refused by Validate.
var uses = []struct {
	keys []string
	by   func(c *Run, m loss.Method) bool
	with string
}{
	{[]string{"beta2"}, func(c *Run, _ loss.Method) bool { return c.Optimizer == "adamw" }, "optimizer adamw"},
	{[]string{"trust"}, func(c *Run, _ loss.Method) bool { return c.Optimizer == "lars" }, "optimizer lars"},
	{[]string{"no_decay"}, func(c *Run, _ loss.Method) bool { return c.WeightDecay > 0 || c.Optimizer == "lars" }, "a weight_decay above 0, or optimizer lars"},
	{[]string{"temperature", "base_temperature", "projection_dim"}, func(_ *Run, m loss.Method) bool { return m.Contrastive() }, "a method that contrasts, which " + withWord(loss.Method.Contrastive) + " do"},
	{[]string{"sub"}, func(c *Run, _ loss.Method) bool { return len(c.Model.Exits) > 0 }, "exits, which " + withWord(loss.Method.NeedsExits) + " have"},
	{[]string{"crop_min", "flip"}, func(c *Run, _ loss.Method) bool { return c.Augment != "none" }, "augment strong or weak"},
}

// withWord lists the methods of which something holds.
func withWord(holds func(loss.Method) bool) string {
	var out []string
	for _, m := range loss.Methods() {
		if holds(m) {
			out = append(out, m.Name)
		}
	}
	return strings.Join(out[:len(out)-1], ", ") + " and " + out[len(out)-1]
}

// idle says with what a setting would do something that does nothing beside the
// others; empty if it does.
func (c *Run) idle(key string) string {
	m, err := loss.Parse(c.Method)
	if err != nil {
		return ""
	}
	for _, u := range uses {
		if slices.Contains(u.keys, key) && !u.by(c, m) {
			return u.with
		}
	}
	return ""
}

// MethodHeeds is whether a setting can do anything with a method, whatever the
// others are.
func MethodHeeds(method, key string) bool {
	c := Default()
	c.Method = method
	if m, err := loss.Parse(method); err == nil && m.NeedsExits() {
		c.Model.Exits = []int{1}
	}
	c.Augment, c.WeightDecay = "strong", 1
	for _, c.Optimizer = range Optimizers {
		if c.idle(key) == "" {
			return true
		}
	}
	return false
}

// Plain is the configuration with the defaults of the settings that do nothing in
// it, and no longer a warm-up than there is, so that what it is printed as can be
// read again; keys are those that changed.
func (c Run) Plain() (plain Run, keys []string) {
	d := Default()
	for _, s := range table {
		if c.idle(s.Key) != "" && s.Text(&c) != s.Text(&d) {
			keys = append(keys, s.Key)
		}
	}
	for _, key := range keys {
		switch to := byKey[key].field(&c).(type) {
		case *string:
			*to = *byKey[key].field(&d).(*string)
		case *int:
			*to = *byKey[key].field(&d).(*int)
		case *float64:
			*to = *byKey[key].field(&d).(*float64)
		case *bool:
			*to = *byKey[key].field(&d).(*bool)
		default:
			panic("config: no default for " + key) // a test tries all of the table
		}
	}
	if c.Epochs > 0 && c.WarmupEpochs > c.Epochs/2 { // a preset's, of a shorter run
		c.WarmupEpochs = c.Epochs / 2
		keys = append(keys, "warmup_epochs")
	}
	return c, keys
}

// CheckGiven refuses what somebody has asked for in vain: settings that were given
// and do nothing beside the others, or would only after the end. Those that are as
// they would be anyway, in base or by default, are as good as not given.
func (c Run) CheckGiven(base Run, given func(key string) bool) error {
	d := Default()
	asked := func(key string) bool {
		s := byKey[key]
		text := s.Text(&c)
		return given(key) && text != s.Text(&base) && text != s.Text(&d)
	}
	for _, s := range table {
		if with := c.idle(s.Key); with != "" && asked(s.Key) {
			return bad(s.Key, "%s does nothing here: it needs %s; or leave it out", s.Text(&c), with)
		}
	}
	if c.Epochs > 0 { // otherwise the data must be seen first
		return c.checkLength(asked)
	}
	return nil
}

// CheckLength is the part of CheckGiven that needs the number of epochs, where
// that was left to the data.
func (c Run) CheckLength() error { return c.checkLength(func(string) bool { return true }) }

func (c Run) checkLength(asked func(key string) bool) error {
	if c.WarmupEpochs > c.Epochs/2 && asked("warmup_epochs") {
		return bad("warmup_epochs", "%d: must be at most half of the %s", c.WarmupEpochs, epochs(c.Epochs))
	}
	if n := len(c.Milestones); n > 0 && c.Milestones[n-1] >= c.Epochs && asked("milestones") {
		return bad("milestones", "%v: the rate would never fall at %d, as the training is done after %s", c.Milestones, c.Milestones[n-1], epochs(c.Epochs))
	}
	return nil
}

func epochs(n int) string {
	if n == 1 {
		return "1 epoch"
	}
	return fmt.Sprintf("%d epochs", n)
}
