package awssim

import (
	"bytes"
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

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AWS Marketplace simulator</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #16191f; background: #f2f3f3; margin: 0; }
header { background: #232f3e; color: #fff; padding: 1rem 2rem; }
header h1 { font-size: 1.2rem; margin: 0; }
main { max-width: 72rem; margin: 1.5rem auto; padding: 0 1rem; }
section { background: #fff; border-radius: 6px; padding: 1rem 1.5rem; margin-bottom: 1.5rem;
  overflow-x: auto; }
h2 { font-size: 1.05rem; margin-top: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-top: 1px solid #e5e7e8;
  vertical-align: top; }
th { border: 0; color: #545b64; font-weight: 600; }
code { font-size: .85em; }
form { display: inline-block; margin: 0 .4rem .3rem 0; }
label { display: inline-block; margin: 0 1rem .5rem 0; }
input { font: inherit; padding: .25rem .4rem; border: 1px solid #aab7b8; border-radius: 4px; }
input[type=number] { width: 6rem; }
button { font: inherit; padding: .3rem .8rem; border: 1px solid #545b64; border-radius: 4px;
  background: #fff; cursor: pointer; }
button.main { background: #ff9900; border-color: #ff9900; font-weight: 600; }
.status { font-weight: 600; }
.muted { color: #545b64; }
</style>
</head>
<body>
<header><h1>AWS Marketplace simulator: product {{.Product}}</h1></header>
<main>
{{if .Token}}<section>
<h2>Set up your account</h2>
<p>AWS Marketplace now sends your browser to the seller, with a registration token that holds
for a few hours.</p>
<form method="post" action="{{.RegisterURL}}">
<input type="hidden" name="x-amzn-marketplace-token" value="{{.Token}}">
{{if .Trial}}<input type="hidden" name="x-amzn-marketplace-offer-type" value="free-trial">{{end}}
<button class="main">Continue to the seller</button>
</form>
<a href="/">Back to all purchases</a>
</section>{{else}}<section>
<h2>Buy</h2>
<form method="post" action="/do/buy">
<label>AWS account <input name="account" pattern="[0-9]{12}" placeholder="a new one"></label>
<label>Quantity <input name="quantity" type="number" min="1" value="10"></label>
<label><input type="checkbox" name="trial" value="true"> free trial</label>
<label><input type="checkbox" name="legacy" value="true"> legacy listing (SNS)</label>
<button class="main">Subscribe</button>
</form>
<p class="muted">One account may buy several times: each purchase is an agreement with a license
of its own.</p>
</section>
<section>
<h2>Purchases</h2>
{{if .Rows}}<table>
<tr><th>Agreement and license</th><th>Buyer</th><th>State</th><th>Quantity</th><th>Term</th><th>Usage</th>
<th>What next?</th></tr>
{{range .Rows}}<tr>
<td><code>{{.ID}}<br>{{.License}}</code>
{{if .Previous}}<br><span class="muted">{{.Intent}} of {{.Previous}}</span>{{end}}</td>
<td>{{.Account}}{{if .Legacy}}<br><span class="muted">{{.Customer}}</span>{{end}}</td>
<td class="status">{{.Status}}{{if .Trial}}, trial{{end}}{{if .Replaced}}, replaced{{end}}</td>
<td>{{.Quantity}} {{.Dimension}}</td>
<td>{{.StartsAt.Format "2006-01-02"}} – {{.EndsAt.Format "2006-01-02"}}</td>
<td>{{.Usage}}</td>
<td>
<form method="post" action="/setup/{{.ID}}"><button class="main">Set up your account</button></form>
{{$id := .ID}}{{range .Actions}}<form method="post" action="/do/{{.Event}}">
<input type="hidden" name="agreement" value="{{$id}}">
{{if .Amount}}<input name="quantity" type="number" min="0" placeholder="quantity">{{end}}
<button>{{.Label}}</button>
</form>
{{end}}</td>
</tr>
{{end}}</table>{{else}}<p>Nothing was bought yet.</p>{{end}}
</section>
<section>
<h2>Last deliveries</h2>
{{if .Attempts}}<table>
<tr><th>Time</th><th>What</th><th>Attempt</th><th>Answer</th></tr>
{{range .Attempts}}<tr><td>{{.At.Format "15:04:05"}}</td><td>{{.Name}}</td><td>{{.N}}</td>
<td>{{if .Error}}{{.Error}}{{else}}{{.Status}}{{end}}{{if .Lost}} (lost on its way back){{end}}</td></tr>
{{end}}</table>{{else}}<p>Nothing was sent yet.</p>{{end}}
</section>{{end}}
</main>
</body>
</html>
`))

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
