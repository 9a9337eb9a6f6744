package alibabasim

import (
	_ "embed"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"cloudsettle/adapters/internal/sim"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": sim.Style,
	"date": func(t time.Time) string {
		if t.IsZero() {
			return "no end"
		}
		return t.UTC().Format("2006-01-02 15:04") + " UTC"
	},
	"label": func(status string) string {
		return map[string]string{
			Opening: "Opening…", Opened: "Open", Expired: "Expired (frozen)", Closed: "Released",
		}[status]
	},
	"tone": func(status string) string {
		return map[string]string{Opened: "good", Expired: "warn", Closed: "muted"}[status]
	},
}).Parse(pageHTML))

// shownAttempts is how many deliveries the page lists.
const shownAttempts = 20

// view is what the page shows.
type view struct {
	Site          string
	International bool
	Listing       string
	ProductCode   string
	FirstSKU      string
	Error         string
	Instances     []Instance
	Attempts      []sim.Attempt
	Parked, Stuck int
}

func (s *Simulator) showPage(w http.ResponseWriter, status int, problem string) {
	v := view{
		Site: "China site", International: s.listing.international(), Listing: string(s.cfg.Listing),
		ProductCode: s.listing.ProductCode, FirstSKU: s.listing.firstSKU(), Error: problem,
		Instances: s.Instances(), Attempts: s.Attempts(),
	}
	if v.International {
		v.Site = "International site"
	}
	slices.Reverse(v.Instances)
	slices.Reverse(v.Attempts)
	v.Attempts = v.Attempts[:min(len(v.Attempts), shownAttempts)]
	s.mu.Lock()
	v.Parked, v.Stuck = len(s.parked), len(s.stuck)
	s.mu.Unlock()
	var b strings.Builder
	if err := pageTemplate.Execute(&b, v); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(b.String()))
}

// postBuy buys with what the form says; empty fields keep their defaults.
func (s *Simulator) postBuy(w http.ResponseWriter, r *http.Request) {
	params, ok := s.form(w, r)
	if !ok {
		return
	}
	switch params["term"] {
	case "trial":
		params["trial"] = "true"
		params["expiredOn"] = s.text(midnight(s.cfg.Now().In(s.listing.zone)).AddDate(0, 0, 15))
	case "year":
		params["expiredOn"] = s.text(midnight(s.cfg.Now().In(s.listing.zone)).AddDate(1, 0, 0))
	case "none":
		params["expiredOn"] = removed
	}
	delete(params, "term")
	s.Buy(params)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Simulator) postForm(w http.ResponseWriter, r *http.Request) {
	params, ok := s.form(w, r)
	if !ok {
		return
	}
	if _, err := s.Do(r.PathValue("id"), actionOf(r.PathValue("action")), params); err != nil {
		s.showPage(w, http.StatusConflict, err.Error())
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// form reads the fields that are filled in.
func (s *Simulator) form(w http.ResponseWriter, r *http.Request) (map[string]string, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxControl)
	if err := r.ParseForm(); err != nil {
		s.showPage(w, http.StatusBadRequest, "the form cannot be read")
		return nil, false
	}
	params := map[string]string{}
	for name := range r.PostForm {
		if v := strings.TrimSpace(r.PostForm.Get(name)); v != "" {
			params[name] = v
		}
	}
	return params, true
}

// getLogin sends the buyer's browser to the seller, signed in.
func (s *Simulator) getLogin(w http.ResponseWriter, r *http.Request) {
	link, err := s.SignIn(r.PathValue("id"))
	if err != nil {
		s.showPage(w, http.StatusNotFound, err.Error())
		return
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, link, http.StatusSeeOther)
}
