package pricing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a book. Path is a JSON pointer into
// the book, "/items/3/prices/0/price", or "" for a file that cannot be read.
// Line is the line of the file, or zero for a book that is not from one.
type Problem struct {
	Line   int
	Path   string
	Detail string
}

// Error says where and what, "line 12: /items/3/unit: must be above zero".
func (p Problem) Error() string {
	switch {
	case p.Line > 0 && p.Path != "":
		return fmt.Sprintf("line %d: %s: %s", p.Line, p.Path, p.Detail)
	case p.Line > 0:
		return fmt.Sprintf("line %d: %s", p.Line, p.Detail)
	case p.Path != "":
		return p.Path + ": " + p.Detail
	}
	return p.Detail
}

// Problems is everything that is wrong with a book or file; callers find it
// with errors.As.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return "price book: " + strings.Join(lines, "\n")
}

// err returns ps in the order of the file, or nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return ps
}

// maxProblems is how many are kept: whoever sent a file that is wrong all over
// needs no more of them.
const maxProblems = 100

func (ps *Problems) add(line int, path, detail string) {
	p := Problem{line, path, detail}
	if len(*ps) < maxProblems && !slices.Contains(*ps, p) {
		*ps = append(*ps, p)
	}
}
