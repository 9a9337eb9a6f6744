package csvsafe

import (
	"slices"
	"testing"
)

func TestCell(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "a": "a", "-1.50": "-1.50", "12": "12",
		"=1+1": "'=1+1", "+8613800000000": "'+8613800000000", "@x": "'@x", "-1+1": "'-1+1", "\t=1": "'\t=1", "\r=1": "'\r=1",
	} {
		if got := Cell(in); got != want {
			t.Errorf("Cell(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Row("=1", "2"); !slices.Equal(got, []string{"'=1", "2"}) {
		t.Errorf("Row(=1, 2) = %q, want the first one guarded", got)
	}
}
