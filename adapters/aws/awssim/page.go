package awssim

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"slices"

	"cloudsettle/adapters/internal/sim"
)

// shownAttempts is how many deliveries the page lists.
const shownAttempts = 20

// action is a button of the page.
type action struct{ Event, Label string }

// Amount reports whether the button takes a quantity.
func (a action) Amount() bool { return a.Event == "change" || a.Event == "sns-entitlement-updated" }

// actions returns what a person can do with an agreement now.
func (a *Agreement) actions() []action {
	if a.Legacy {
		switch a.Status {
		case Active:
			return []action{{"sns-entitlement-updated", "Change"}, {"sns-unsubscribe-pending", "Unsubscribe"}}
		case Ending:
			return []action{{"sns-unsubscribe-success", "Close"}, {"sns-subscribe-success", "Subscribe again"}}
		default:
			return []action{{"sns-subscribe-success", "Subscribe again"}}
		}
	}
	switch a.Status {
	case Pending:
		return []action{{"subscribe", "Activate"}}
	case Active:
		return []action{
			{"change", "Change quantity"}, {"renew", "Renew"}, {"replace", "Upgrade (replace)"},
			{"unsubscribe", "Cancel"}, {"expire", "Let expire"},
		}
	case Ending:
		return []action{{"deprovision", "Close for good"}}
	default:
		return nil
	}
}

type row struct {
	Agreement
	Actions []action
	Usage   string
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": sim.Style,
	"tone": func(status string) string {
		return map[string]string{Active: "good", Ending: "warn", Ended: "muted"}[status]
	},
}).Parse(pageHTML))

// pageData is what the page shows. With a token it is the step to the seller.
type pageData struct {
	Product            string
	Rows               []row
	Attempts           []sim.Attempt
	Token, RegisterURL string
	Trial              bool
}

func (s *Simulator) page(w http.ResponseWriter, _ *http.Request) {
	data := pageData{Product: s.listing.ProductCode}
	for _, a := range s.Agreements() {
		data.Rows = append(data.Rows, row{a, a.actions(), s.usageLine(a)})
	}
	slices.Reverse(data.Rows)
	data.Attempts = s.Attempts()
	slices.Reverse(data.Attempts)
	data.Attempts = data.Attempts[:min(len(data.Attempts), shownAttempts)]
	s.render(w, data)
}

func (s *Simulator) render(w http.ResponseWriter, data pageData) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w)
}

// pageDo is a button of the page.
func (s *Simulator) pageDo(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p := Params{}
	for k := range r.PostForm {
		p[k] = r.PostForm.Get(k)
	}
	if _, err := s.Do(r.PathValue("event"), p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// pageSetup is the marketplace's last page before the seller's: its form takes
// the token there.
func (s *Simulator) pageSetup(w http.ResponseWriter, r *http.Request) {
	token, a, ok := s.newToken(r.PathValue("agreement"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.render(w, pageData{
		Product: s.listing.ProductCode, Token: token, RegisterURL: s.hook("register"), Trial: a.Trial,
	})
}
