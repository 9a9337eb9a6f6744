// Package cloudsettle_test holds the rules of the house that a machine can
// check: who may import whom, how long things may get, what has a name where.
package cloudsettle_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The limits of style: beyond them a reader loses the thread.
const (
	maxFunctionLines = 70
	maxFileLines     = 500
	maxTestFileLines = 800 // tables are long, and easy to skip
)

// arrows says which units may import which. A unit is the first two elements
// of a path below the module: core, core/account, adapters/aws. Imports inside
// a unit are free; everything that is not listed is forbidden.
var arrows = map[string][]string{
	"core/id":              {},
	"core/account":         {},
	"core/marketplace":     {},
	"core/ledger":          {"core/money"},
	"core/settlement":      {"core/account", "core/ledger", "core/marketplace", "core/money", "core/pricing", "core/rating", "core/usage", "core/workspace"},
	"core/metering":        {"core/marketplace", "core/money"},
	"core/money":           {},
	"core/pricing":         {"core/money", "core/usage"},
	"core/rating":          {"core/money", "core/pricing", "core/usage"},
	"core/usage":           {},
	"core/workspace":       {"core/account", "core/marketplace"},
	"core":                 {"core/*"},
	"adapters/internal":    {"core", "core/*"},
	"adapters/adaptertest": {"core", "core/*"},
	"adapters/*":           {"core", "core/*", "adapters/internal"},
	"adapters":             {"core", "core/*", "adapters/*"},
	"store/storetest":      {"core", "core/*"},
	"store/internal":       {"core", "core/*"},
	"store/fresh":          {"core", "store", "store/postgres"}, // for tests, which run on every store
	"store/*":              {"core", "core/*", "store/internal"},
	"store":                {"core", "store/*"},
	"webhooks":             {"core", "core/*"},
	"console":              {"core", "core/*", "console/*"},
	"console/*":            {"core", "core/*", "console/*"},
	"cmd/cloudsettle":      {"core", "core/*", "adapters", "store", "store/*", "webhooks", "console", "console/*"},
}

// pure are the packages that do no I/O: what they must not import.
var pure = regexp.MustCompile(`^core/`)
var impure = []string{"net/http", "os", "database/sql", "io/fs", "log/slog", "context"}

// file is one parsed source file.
type file struct {
	path string // below the module root
	unit string
	ast  *ast.File
	set  *token.FileSet
	text string
}

func TestArrows(t *testing.T) {
	for _, f := range sources(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, imp := range f.ast.Imports {
			p := strings.Trim(imp.Path.Value, `"`)
			if to, ok := strings.CutPrefix(p, "cloudsettle/"); ok && !allowed(f.unit, unitOf(to)) {
				t.Errorf("%s: %s must not import %s", f.path, f.unit, to)
			}
			if pure.MatchString(f.unit) && slices.Contains(impure, p) {
				t.Errorf("%s: the pure package %s must not import %s", f.path, f.unit, p)
			}
		}
	}
}

func unitOf(p string) string {
	parts := strings.Split(p, "/")
	return path.Join(parts[:min(2, len(parts))]...)
}

func allowed(from, to string) bool {
	if from == to {
		return true
	}
	rules, ok := arrows[from]
	if !ok {
		rules = arrows[path.Dir(from)+"/*"]
	}
	return slices.Contains(rules, to) || slices.ContainsFunc(rules, func(r string) bool {
		m, _ := path.Match(r, to)
		return m
	})
}

func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sources(t) {
		dir := filepath.Dir(f.path)
		documented[dir] = documented[dir] || f.ast.Doc != nil
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, f := range sources(t) {
		limit := maxFileLines
		isTest := strings.HasSuffix(f.path, "_test.go")
		if isTest {
			limit = maxTestFileLines
		}
		if n := strings.Count(f.text, "\n"); n > limit {
			t.Errorf("%s has %d lines, at most %d", f.path, n, limit)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s: init() hides work; call it by name", f.path)
			}
			n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
			if n > maxFunctionLines && !isTest {
				t.Errorf("%s: %s has %d lines, at most %d", f.path, fn.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

// TestProvidersHaveOnePlace: no provider is named outside its folder, but for
// one line in adapters.go and what a person configures.
func TestProvidersHaveOnePlace(t *testing.T) {
	names := regexp.MustCompile(`(?i)"[^"\n]*\b(aws|alibaba|huawei)\b[^"\n]*"`)
	for _, f := range sources(t) {
		if strings.HasSuffix(f.path, "_test.go") || strings.HasPrefix(f.path, "adapters/") ||
			strings.HasPrefix(f.path, "cmd/cloudsettle/dev") {
			continue
		}
		if m := names.FindString(f.text); m != "" {
			t.Errorf("%s names a provider: %s", f.path, m)
		}
	}
}

// TestSecretsAreComparedInConstantTime looks for == on what is named like a
// secret.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	secret := regexp.MustCompile(`(?i)(token|signature|secret|apikey|mac)$`)
	for _, f := range sources(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			b, ok := n.(*ast.BinaryExpr)
			if !ok || b.Op != token.EQL && b.Op != token.NEQ {
				return true
			}
			for _, pair := range [][2]ast.Expr{{b.X, b.Y}, {b.Y, b.X}} {
				if id := nameOf(pair[0]); secret.MatchString(id) && !isConstant(pair[1]) {
					t.Errorf("%s: %s is compared with ==", f.set.Position(b.Pos()), id)
				}
			}
			return true
		})
	}
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return e.Name == "nil" || e.Name == "true" || e.Name == "false"
	}
	return false
}

// sources parses every Go file of the module that people write.
func sources(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && p != ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(p) != ".go" || p == "hygiene_test.go" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil || strings.Contains(string(text[:min(len(text), 300)]), "DO NOT EDIT") {
			return err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, file{p, unitOf(filepath.ToSlash(filepath.Dir(p))), parsed, set, string(text)})
		return nil
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	return out
}
