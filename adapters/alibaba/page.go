package alibaba

import (
	"bytes"
	"errors"
	"html/template"
	"net/http"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// browser answers verify, which a buyer's browser opened: it is sent on to the
// landing page, or is told in plain words why not.
func (a *Adapter) browser(cb core.Callback, ev marketplace.Event, out core.Outcome, err error) core.Reply {
	p := signInPage(cb, ev, out, err)
	h := http.Header{
		"Cache-Control":   {"no-store"},
		"Referrer-Policy": {"no-referrer"}, // the address holds the token
	}
	if p.Status == http.StatusSeeOther {
		h.Set("Location", a.publicURL+out.Landing)
		return core.Reply{Status: p.Status, Header: h}
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	withHints(h, p.Status, "GET")
	p.Request = cb.RequestID
	return core.Reply{Status: p.Status, Header: h, Body: p.render()}
}

// page is what a buyer sees who cannot be signed in.
type page struct {
	Status               int
	Title, Text, Request string
}

const again = "Go back to the cloud console and choose “Login directly” again."

var unknownPage = page{
	Status: http.StatusNotFound, Title: "This purchase is not known here",
	Text: "If you just bought it, wait a minute. " + again,
}

// signInPage decides what a buyer sees. A status of 303 means the landing page.
func signInPage(cb core.Callback, ev marketplace.Event, out core.Outcome, err error) page {
	if err != nil {
		return failurePage(cb, err)
	}
	sub := out.Subscription
	switch {
	case out.Result == marketplace.Replayed:
		return page{Status: http.StatusGone, Title: "This link was used already", Text: again}
	case out.Result == marketplace.Waiting || sub != nil && !sub.Known():
		return unknownPage
	case sub != nil && sub.Status == marketplace.StatusFrozen:
		return page{
			Status: http.StatusForbidden, Title: "Your subscription is paused",
			Text: "Its term is over or a payment is due. Your data is kept: renew it in the cloud console.",
		}
	case sub != nil && (sub.Status == marketplace.StatusEnded || sub.Status == marketplace.StatusEnding):
		return page{
			Status: http.StatusForbidden, Title: "Your subscription has ended",
			Text: "Buy it again in the cloud marketplace to go on.",
		}
	case sub == nil && out.Result == marketplace.Refused:
		return unknownPage
	case ev.Kind == marketplace.SignIn && out.Landing != "" && welcome(out.Result):
		return page{Status: http.StatusSeeOther}
	}
	return page{Status: http.StatusForbidden, Title: "You could not be signed in", Text: again}
}

func welcome(r marketplace.Result) bool {
	return r == marketplace.Applied || r == marketplace.Answered || r == marketplace.Duplicate
}

// failurePage says what went wrong to a person.
func failurePage(cb core.Callback, err error) page {
	status, _ := describe(cb, err)
	switch {
	case errors.Is(err, core.ErrUnverified):
		return page{Status: http.StatusForbidden, Title: "This link is not valid", Text: again}
	case errors.Is(err, core.ErrExpired):
		return page{Status: http.StatusGone, Title: "This link has expired", Text: again}
	case errors.Is(err, core.ErrNotFound):
		return unknownPage
	case errors.Is(err, core.ErrNotUsable):
		return page{
			Status: http.StatusForbidden, Title: "Your subscription cannot be used now",
			Text: "It is paused or has ended. See its state in the cloud console.",
		}
	case status == http.StatusServiceUnavailable:
		return page{
			Status: status, Title: "We will be back in a moment",
			Text: "Something we depend on does not answer. " + again,
		}
	case status == http.StatusInternalServerError:
		return page{Status: status, Title: "Something went wrong on our side", Text: again}
	case status == http.StatusOK:
		status = http.StatusBadRequest
	}
	return page{Status: status, Title: "This link is not complete", Text: again}
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 34rem; margin: 15vh auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .5rem }
small { color: #656d76 }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
<p><small>Request {{.Request}}</small></p>
</body>
</html>
`))

// render writes the page. Its fields are plain text, which cannot fail.
func (p page) render() []byte {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return []byte(p.Title)
	}
	return b.Bytes()
}
