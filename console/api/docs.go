package api

import (
	"bytes"
	_ "embed"
	"html/template"
	"slices"
	"sort"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"cloudsettle/core"
)

//go:embed docs.html
var docsPage string

// docs is what the documentation page shows.
type docs struct {
	Title, Description string
	Groups             []docsGroup
	Schemas            []docsSchema
}

type docsGroup struct {
	Name, Description string
	Operations        []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description string
	Roles                                  []string
	Parameters                             []docsField
	Body                                   string // the name of its schema, or ""
	Responses                              []docsResponse
}

type docsResponse struct{ Status, Description, Schema string }

type docsSchema struct {
	Name, Description string
	Fields            []docsField
	Enum              []string
}

type docsField struct {
	Name, In, Type, Schema, Description string
	Required, Nullable                  bool
}

// renderDocs renders the description as one page that needs nothing else.
func renderDocs(spec *openapi3.T) ([]byte, error) {
	t, err := template.New("docs").Funcs(template.FuncMap{"prose": prose}).Parse(docsPage)
	if err != nil {
		return nil, err
	}
	d := docs{Title: spec.Info.Title, Description: spec.Info.Description}
	for _, tag := range spec.Tags {
		d.Groups = append(d.Groups, docsGroup{tag.Name, tag.Description, docsOperations(spec, tag.Name)})
	}
	for name, s := range spec.Components.Schemas {
		d.Schemas = append(d.Schemas, docsSchema{name, s.Value.Description, docsFields(s.Value), enum(s.Value)})
	}
	sort.Slice(d.Schemas, func(i, j int) bool { return d.Schemas[i].Name < d.Schemas[j].Name })
	var out bytes.Buffer
	err = t.Execute(&out, d)
	return out.Bytes(), err
}

// docsOperations returns the operations of a tag, by path and method.
func docsOperations(spec *openapi3.T, tag string) []docsOperation {
	var out []docsOperation
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			if slices.Contains(op.Tags, tag) {
				out = append(out, describeOperation(path, method, item, op))
			}
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Path+" "+out[i].Method < out[j].Path+" "+out[j].Method
	})
	return out
}

func describeOperation(path, method string, item *openapi3.PathItem, op *openapi3.Operation) docsOperation {
	d := docsOperation{
		ID: op.OperationID, Method: method, Path: path,
		Summary: op.Summary, Description: op.Description, Roles: roleNames(permitted(op.OperationID)),
	}
	for _, p := range slices.Concat(item.Parameters, op.Parameters) {
		f := describeField(p.Value.Name, p.Value.Schema, p.Value.Required)
		f.In, f.Description = p.Value.In, p.Value.Description
		d.Parameters = append(d.Parameters, f)
	}
	if op.RequestBody != nil {
		d.Body = schemaName(op.RequestBody.Value.Content)
	}
	for status, r := range op.Responses.Map() {
		d.Responses = append(d.Responses, docsResponse{status, *r.Value.Description, schemaName(r.Value.Content)})
	}
	sort.Slice(d.Responses, func(i, j int) bool { return d.Responses[i].Status < d.Responses[j].Status })
	return d
}

func roleNames(set roles) []string {
	var out []string
	for _, r := range []core.Role{
		core.RoleOperator, core.RoleFinance, core.RoleReadonly, core.RoleWorkspace, core.RoleAccount,
	} {
		if set&roleSet(r) != 0 {
			out = append(out, string(r))
		}
	}
	return out
}

func schemaName(c openapi3.Content) string {
	for _, media := range c {
		return refName(media.Schema)
	}
	return ""
}

func refName(s *openapi3.SchemaRef) string {
	return strings.TrimPrefix(s.Ref, "#/components/schemas/")
}

func docsFields(s *openapi3.Schema) []docsField {
	var out []docsField
	for name, p := range s.Properties {
		out = append(out, describeField(name, p, slices.Contains(s.Required, name)))
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Required != out[j].Required {
			return out[i].Required
		}
		return out[i].Name < out[j].Name
	})
	return out
}

func describeField(name string, ref *openapi3.SchemaRef, required bool) docsField {
	s := ref.Value
	f := docsField{Name: name, Required: required, Nullable: s.Nullable, Schema: refName(ref)}
	if f.Schema == "" {
		f.Type, f.Description = typeName(s), s.Description
	}
	if s.Items != nil {
		f.Type, f.Schema = "array of", refName(s.Items)
		if f.Schema == "" {
			f.Type += " " + typeName(s.Items.Value)
		}
	}
	return f
}

func typeName(s *openapi3.Schema) string {
	name := strings.Join(s.Type.Slice(), " or ")
	if s.Format != "" {
		name += " (" + s.Format + ")"
	}
	if values := enum(s); len(values) > 0 {
		name += ": " + strings.Join(values, " | ")
	}
	return name
}

func enum(s *openapi3.Schema) []string {
	var out []string
	for _, v := range s.Enum {
		if text, ok := v.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// prose renders the little Markdown that the description uses: paragraphs,
// lists, `code` and **strong**.
func prose(text string) template.HTML {
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		items := strings.Split("\n"+block, "\n- ")
		if first := strings.TrimSpace(items[0]); first != "" {
			out.WriteString("<p>" + inline(first) + "</p>")
		}
		if len(items) == 1 {
			continue
		}
		out.WriteString("<ul>")
		for _, item := range items[1:] {
			out.WriteString("<li>" + inline(item) + "</li>")
		}
		out.WriteString("</ul>")
	}
	return template.HTML(out.String()) // #nosec -- inline escapes, and the text is our own
}

// inline escapes text and marks what stands between backticks and asterisks.
func inline(text string) string {
	text = template.HTMLEscapeString(text)
	for _, mark := range [][3]string{{"`", "<code>", "</code>"}, {"**", "<strong>", "</strong>"}} {
		parts := strings.Split(text, mark[0])
		text = parts[0]
		for i, part := range parts[1:] {
			text += mark[1+i%2] + part
		}
	}
	return text
}
