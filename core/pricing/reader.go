package pricing

import "strings"

// MaxFile is the longest file that is read, in bytes: a hundred times the
// longest price list known.
const MaxFile = 4 << 20

// reader collects what is read of a book and remembers where it stood.
type reader struct {
	found Problems
	lines map[string]int  // where the values of the book are
	bad   map[string]bool // the values that could not be read
}

// begin forgets the places of the book before.
func (r *reader) begin() {
	r.lines, r.bad = map[string]int{}, map[string]bool{}
}

// fail notes a value that could not be read.
func (r *reader) fail(line int, path, detail string) {
	r.bad[path] = true
	r.found.add(line, path, detail)
}

// set reads a plain value by its setter.
func (r *reader) set(line int, path, text string, setter func(string) error) {
	r.lines[path] = line
	if err := setter(text); err != nil {
		r.fail(line, path, err.Error())
	}
}

// check validates the book, without saying again what is wrong with values
// that could not be read.
func (r *reader) check(b *Book) {
	problems, _ := b.Validate().(Problems)
	for _, p := range problems {
		if !r.isBad(p.Path) {
			r.found.add(r.lineOf(p.Path), p.Path, p.Detail)
		}
	}
}

func (r *reader) isBad(path string) bool {
	for ; path != ""; path = parent(path) {
		if r.bad[path] {
			return true
		}
	}
	return false
}

func (r *reader) lineOf(path string) int {
	for ; path != ""; path = parent(path) {
		if line, ok := r.lines[path]; ok {
			return line
		}
	}
	return r.lines[""]
}

func parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }
