package api

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"cloudsettle/console/api/csvsafe"
	"cloudsettle/console/api/rest"
)

const (
	formatParameter = "format"
	csvType         = "text/csv"
	csvHeader       = csvType + "; charset=utf-8"
)

// negotiate lets a header Accept that prefers CSV ask for it as the parameter
// does. The parameter comes first.
func negotiate(c echo.Context) {
	r := c.Request()
	c.Response().Header().Add(echo.HeaderVary, echo.HeaderAccept)
	q := r.URL.Query()
	if !q.Has(formatParameter) && prefersCSV(r.Header.Values(echo.HeaderAccept)) {
		q.Set(formatParameter, string(rest.Csv))
		r.URL.RawQuery = q.Encode()
	}
}

// prefersCSV reports whether CSV is accepted, and more so than JSON. Of equals
// the first is meant.
func prefersCSV(accept []string) bool {
	best, found := 0.0, false
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		weight := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			weight = q
		}
		switch {
		case weight <= best:
		case kind == csvType:
			best, found = weight, true
		case kind == echo.MIMEApplicationJSON, kind == "application/*", kind == "*/*":
			best, found = weight, false
		}
	}
	return found
}

// table is how items of one schema become rows: each column is the path to a
// field.
type table [][]string

// tableOf returns the columns of a schema: objects are laid flat, all else is a
// cell. Fields that are always there come first, in the order of the
// description; it has no order for the others.
func tableOf(s *openapi3.Schema) table {
	var out table
	optional := []string{}
	for name := range s.Properties {
		if !slices.Contains(s.Required, name) {
			optional = append(optional, name)
		}
	}
	slices.Sort(optional)
	for _, name := range append(slices.Clone(s.Required), optional...) {
		p := s.Properties[name]
		if p == nil || p.Value == nil || len(p.Value.Properties) == 0 {
			out = append(out, []string{name})
			continue
		}
		for _, path := range tableOf(p.Value) {
			out = append(out, append([]string{name}, path...))
		}
	}
	return out
}

// listTable returns the columns of a list's items, or nil for an operation that
// answers with something else.
func listTable(op *openapi3.Operation) table {
	ok := op.Responses.Status(http.StatusOK)
	if ok == nil || ok.Value.Content[csvType] == nil {
		return nil
	}
	data := ok.Value.Content[echo.MIMEApplicationJSON].Schema.Value.Properties["data"]
	if data == nil || data.Value.Items == nil {
		return nil
	}
	return tableOf(data.Value.Items.Value)
}

func (t table) header() []string {
	out := make([]string, len(t))
	for i, path := range t {
		out[i] = strings.Join(path, ".")
	}
	return out
}

// row returns the cells of an item.
func (t table) row(item map[string]any) ([]string, error) {
	out := make([]string, len(t))
	for i, path := range t {
		var v any = item
		for _, name := range path {
			fields, _ := v.(map[string]any) // what is absent has no fields
			v = fields[name]
		}
		var err error
		if out[i], err = cell(v); err != nil {
			return nil, err
		}
	}
	return csvsafe.Row(out...), nil
}

// cell writes a value: a list of texts with spaces between them, anything else
// with parts as JSON.
func cell(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case json.Number, bool:
		return fmt.Sprint(v), nil
	case []any:
		if len(v) == 0 {
			return "", nil
		}
		if texts, ok := textsOf(v); ok {
			return strings.Join(texts, " "), nil
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func textsOf(list []any) ([]string, bool) {
	out := make([]string, len(list))
	for i, v := range list {
		text, ok := v.(string)
		if !ok {
			return nil, false
		}
		out[i] = text
	}
	return out, true
}

// answer lets a list's handler answer and writes the same items as CSV. A page
// is small: it fits in memory.
func (t table) answer(c echo.Context, next echo.HandlerFunc) error {
	out := c.Response().Writer
	page := &recorder{header: out.Header(), status: http.StatusOK}
	c.Response().Writer = page
	err := next(c)
	c.Response().Writer = out
	if err != nil {
		return err
	}
	var list struct {
		Data       []map[string]any `json:"data"`
		NextCursor string           `json:"next_cursor"`
	}
	if err := decodeNumbers(page.body.Bytes(), &list); err != nil {
		return fmt.Errorf("csv of %s: %w", c.Path(), err)
	}
	if list.NextCursor != "" {
		u := *c.Request().URL
		q := u.Query()
		q.Set("cursor", list.NextCursor)
		u.RawQuery = q.Encode()
		out.Header().Set("Link", "<"+u.RequestURI()+`>; rel="next"`)
	}
	out.Header().Set(echo.HeaderContentType, csvHeader)
	out.WriteHeader(page.status)
	w := csv.NewWriter(out)
	if err := w.Write(t.header()); err != nil {
		return err
	}
	for _, item := range list.Data {
		row, err := t.row(item)
		if err == nil {
			err = w.Write(row)
		}
		if err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// decodeNumbers decodes JSON and keeps numbers as they are written.
func decodeNumbers(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
