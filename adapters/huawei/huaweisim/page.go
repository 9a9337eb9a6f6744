package huaweisim

import (
	_ "embed"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"cloudsettle/adapters/internal/sim"
)

//go:embed page.html
var pageHTML string

// shown is how many attempts the page lists, newest first.
const shown = 20

// label says in words what a button does.
func label(action string) string {
	switch action {
	case "cancel-renewal":
		return "Refund a renewal"
	case "convert":
		return "Turn trial into purchase"
	case "expire":
		return "Let expire"
	case "check":
		return "Ask before a change"
	case "query":
		return "Query"
	}
	return strings.ToUpper(action[:1]) + action[1:]
}

// page shows the book and lets a person buy, renew and end.
func (s *Sim) page(w http.ResponseWriter, _ *http.Request) {
	t, err := template.New("page").Funcs(template.FuncMap{"label": label, "style": sim.Style}).Parse(pageHTML)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	attempts := s.Attempts()
	slices.Reverse(attempts)
	st := s.State()
	slices.Reverse(st.Instances)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
	_ = t.Execute(w, map[string]any{ // the browser may have gone
		"Listing": s.cfg.Listing, "State": st, "Actions": actions(),
		"Attempts": attempts[:min(shown, len(attempts))],
	})
}
