package api

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"cloudsettle/core"
)

// refusal turns what the validator found into one fault with every field.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	f := &core.Fault{Err: core.ErrInvalid, Code: "invalid_fields", Detail: "some fields are wrong"}
	collectFaults(err, "", f)
	if len(f.Fields) == 0 {
		f.Code, f.Detail = "invalid_request", "the request does not fit the API's description"
	}
	slices.SortStableFunc(f.Fields, func(a, b core.FieldFault) int { return strings.Compare(a.Field, b.Field) })
	return f
}

// collectFaults walks the validator's tree of errors. at is the parameter that
// an error below it is about, or "" in the body.
func collectFaults(err error, at string, f *core.Fault) {
	var request *openapi3filter.RequestError
	var several openapi3.MultiError
	var schema *openapi3.SchemaError
	switch {
	case errors.As(err, &several) && !isRequest(err):
		for _, e := range several {
			collectFaults(e, at, f)
		}
	case errors.As(err, &request):
		if request.Parameter != nil {
			at = request.Parameter.Name
		}
		if request.Err == nil || !describable(request.Err) {
			f.Fields = append(f.Fields, core.FieldFault{Field: at, Detail: "cannot be read"})
			return
		}
		collectFaults(request.Err, at, f)
	case errors.As(err, &schema):
		f.Fields = append(f.Fields, fieldFault(schema, at))
	}
}

func isRequest(err error) bool {
	_, is := err.(*openapi3filter.RequestError) //nolint:errorlint // its own level of the tree
	return is
}

func describable(err error) bool {
	var several openapi3.MultiError
	var schema *openapi3.SchemaError
	return errors.As(err, &several) || errors.As(err, &schema)
}

// fieldFault words one violation. The value itself is not repeated.
func fieldFault(e *openapi3.SchemaError, at string) core.FieldFault {
	path := strings.Join(e.JSONPointer(), "/")
	if at != "" {
		path = strings.TrimSuffix(at+"/"+path, "/")
	}
	if name, unknown := unknownField(e.Reason); unknown {
		return core.FieldFault{Field: strings.TrimPrefix(path+"/"+name, "/"), Detail: "is not a field of this body"}
	}
	switch {
	case e.SchemaField == "required":
		return core.FieldFault{Field: path, Detail: "is required"}
	case e.SchemaField == "pattern":
		return core.FieldFault{Field: path, Detail: "does not have the form that the API's description gives"}
	}
	return core.FieldFault{Field: path, Detail: e.Reason}
}

// unknownField finds the name of a field that the schema does not have. The
// validator (kin-openapi v0.152.0) tells it only in words.
func unknownField(reason string) (string, bool) {
	quoted, ok := strings.CutSuffix(strings.TrimPrefix(reason, "property "), " is unsupported")
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(quoted)
	return name, err == nil
}
