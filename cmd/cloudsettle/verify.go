package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"cloudsettle/console/api/rest"
)

// verifyCmd checks everything that must always be true.
type verifyCmd struct{}

// Run prints how many objects were checked, and fails with the violations.
func (*verifyCmd) Run(ctx context.Context, s *streams, c *cli) error {
	bar := spinner(s.err, "verify")
	v, err := received[rest.Verification](c.patient.Verify(ctx))
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if err := printVerification(c, v); err != nil {
		return err
	}
	if !v.Ok {
		return fmt.Errorf("%d violations", len(v.Violations))
	}
	return nil
}

func printVerification(c *cli, v rest.Verification) error {
	if c.output == "json" {
		return printJSON(c.out, v)
	}
	if len(v.Violations) > 0 {
		return printAll(c, v.Violations, []column[rest.Violation]{
			{"INVARIANT", func(x rest.Violation) string { return x.Invariant }},
			{"OBJECT", func(x rest.Violation) string { return x.Object }},
			{"DETAIL", func(x rest.Violation) string { return x.Detail }},
		})
	}
	return printAll(c, slices.Sorted(maps.Keys(v.Checked)), []column[string]{
		{"KIND", func(kind string) string { return kind }},
		{"CHECKED", func(kind string) string { return count(v.Checked[kind]) }},
	})
}
