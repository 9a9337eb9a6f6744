package huawei

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"cloudsettle/core"
)

// maxParams bounds the parameters of a query; the longest documented activity
// has 30.
const maxParams = 128

// param is one decoded parameter of a query.
type param struct{ name, value string }

// params are the parameters of a query by name, ascending. Of a doubled one
// only the first counts, as in Huawei's own verifier: what is signed and what
// is used are the same.
type params []param

// parseQuery decodes a raw query, each value exactly once.
func parseQuery(raw string) (params, error) {
	if strings.Count(raw, "&") >= maxParams {
		return nil, core.Invalid("too_many_parameters", "more than %d parameters", maxParams)
	}
	out := make(params, 0, strings.Count(raw, "&")+1)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := unescape(name)
		if err != nil {
			return nil, err
		}
		if value, err = unescape(value); err != nil {
			return nil, err
		}
		out = append(out, param{name, value})
	}
	slices.SortStableFunc(out, func(a, b param) int { return cmp.Compare(a.name, b.name) })
	return slices.CompactFunc(out, func(a, b param) bool { return a.name == b.name }), nil
}

func unescape(s string) (string, error) {
	out, err := url.QueryUnescape(s)
	if err != nil {
		return "", core.Invalid("bad_encoding", "the query is not URL-encoded")
	}
	return out, nil
}

// get returns the value of a parameter, or "".
func (p params) get(name string) string {
	at, found := slices.BinarySearchFunc(p, name, func(a param, n string) int {
		return cmp.Compare(a.name, n)
	})
	if !found {
		return ""
	}
	return p[at].value
}
