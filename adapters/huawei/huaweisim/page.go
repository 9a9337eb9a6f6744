package huaweisim

import (
	_ "embed"
	"html/template"
	"net/http"
	"slices"
)

//go:embed page.html
var pageHTML string

// shown is how many attempts the page lists, newest first.
const shown = 20

// page shows the book and lets a person buy, renew and end.
func (s *Sim) page(w http.ResponseWriter, _ *http.Request) {
	t, err := template.New("page").Parse(pageHTML)
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
