package pricing

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/govalues/decimal"
	"go.yaml.in/yaml/v3"
)

// ParseYAML reads the books of a YAML file, as the package describes it. Of a
// file with anything wrong it returns no book and Problems, which name all
// that is wrong, by line.
func ParseYAML(data []byte) ([]Book, error) {
	r := yamlReader{}
	r.begin()
	books := r.books(data)
	if err := r.found.err(); err != nil {
		return nil, err
	}
	return books, nil
}

// yamlReader walks the nodes of a file. It takes texts as they are written:
// the numbers of YAML are floats, and 1.5 must stay 1.5.
type yamlReader struct{ reader }

func (r *yamlReader) books(data []byte) []Book {
	if len(data) > MaxFile {
		r.found.add(0, "", "longer than "+strconv.Itoa(MaxFile)+" bytes")
		return nil
	}
	var books []Book
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var n yaml.Node
		err := d.Decode(&n)
		switch {
		case errors.Is(err, io.EOF) && len(books) > 0:
			return books
		case errors.Is(err, io.EOF):
			r.found.add(1, "", "there is no book in it")
			return nil
		case err != nil:
			r.found.add(syntaxLine(err), "", strings.TrimPrefix(err.Error(), "yaml: "))
			return nil
		}
		r.begin()
		books = append(books, r.book(root(&n)))
		r.check(&books[len(books)-1])
	}
}

// root returns the value of a document; one without any is an empty node.
func root(document *yaml.Node) *yaml.Node {
	if len(document.Content) == 0 {
		return &yaml.Node{Line: document.Line}
	}
	return document.Content[0]
}

// syntaxLine digs the line out of an error that only says it in words.
func syntaxLine(err error) int {
	_, after, _ := strings.Cut(err.Error(), "line ")
	digits, _, _ := strings.Cut(after, ":")
	line, _ := strconv.Atoi(digits)
	return line
}

func (r *yamlReader) book(n *yaml.Node) Book {
	b := Book{Scale: DefaultScale}
	r.object("", n, b.setters(), nested{
		"items": func(path string, n *yaml.Node) { b.Items = list(r, path, n, MaxItems, r.item) },
	}, "name", "zone", "currency", "effective_from", "items")
	return b
}

func (r *yamlReader) item(path string, n *yaml.Node) Item {
	it := Item{Mode: Flat}
	r.object(path, n, it.setters(), nested{
		"measures": func(path string, n *yaml.Node) {
			it.Measures = list(r, path, n, MaxMeasures, r.measure)
		},
		"prices": func(path string, n *yaml.Node) {
			it.Prices = list(r, path, n, MaxPrices, r.price)
		},
	}, "item", "unit", "aggregation", "prices")
	return it
}

func (r *yamlReader) measure(path string, n *yaml.Node) Measure {
	m := Measure{Weight: decimal.One}
	r.object(path, n, m.setters(), nested{
		"event": func(path string, n *yaml.Node) {
			m.Event = &Event{}
			r.object(path, n, m.Event.setters(), nil, "size", "per", "round")
		},
	}, "measure")
	return m
}

func (r *yamlReader) price(path string, n *yaml.Node) Price {
	var p Price
	need := "price"
	if has(n, "tiers") {
		need = "tiers"
	}
	r.object(path, n, p.setters(), nested{
		"tiers": func(path string, n *yaml.Node) { p.Tiers = list(r, path, n, MaxTiers, r.tier) },
	}, need)
	return p
}

func (r *yamlReader) tier(path string, n *yaml.Node) Tier {
	var t Tier
	r.object(path, n, t.setters(), nil, "price")
	return t
}

// nested reads the values of an object that are not plain.
type nested map[string]func(path string, n *yaml.Node)

// object reads a mapping with these keys and no others, each at most once.
func (r *yamlReader) object(
	path string, n *yaml.Node, plain setters, deep nested, required ...string,
) {
	r.lines[path] = n.Line
	if n.Kind != yaml.MappingNode {
		r.fail(n.Line, path, "must be a mapping of keys to values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := path + "/" + key.Value
		switch setter, reader := plain[key.Value], deep[key.Value]; {
		case setter == nil && reader == nil:
			r.found.add(key.Line, path, "unknown key "+strconv.Quote(cut(key.Value)))
		case seen[key.Value]:
			r.fail(key.Line, at, "is there twice")
		case setter != nil:
			r.plain(at, value, setter)
		default:
			r.lines[at] = value.Line
			reader(at, value)
		}
		seen[key.Value] = true
	}
	for _, key := range required {
		if !seen[key] {
			r.fail(n.Line, path+"/"+key, "is missing")
		}
	}
}

// plain reads a scalar as it is written.
func (r *yamlReader) plain(path string, n *yaml.Node, setter func(string) error) {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.fail(n.Line, path, "must be a plain value")
	case n.ShortTag() == "!!null":
		r.fail(n.Line, path, "has no value")
	default:
		r.set(n.Line, path, n.Value, setter)
	}
}

// list reads a sequence of at most limit elements.
func list[T any](
	r *yamlReader, path string, n *yaml.Node, limit int, one func(string, *yaml.Node) T,
) []T {
	if n.Kind != yaml.SequenceNode {
		r.fail(n.Line, path, "must be a list")
		return nil
	}
	if len(n.Content) > limit {
		r.fail(n.Line, path, "more than "+strconv.Itoa(limit))
		return nil
	}
	out := make([]T, 0, len(n.Content))
	for i, element := range n.Content {
		out = append(out, one(place(path, i), element))
	}
	return out
}

// has reports whether a mapping has a key.
func has(n *yaml.Node, key string) bool {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// cut shortens what is quoted in a problem.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxCode)], "") }
