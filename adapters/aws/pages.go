package aws

import (
	"bytes"
	"html/template"
	"net/http"

	"cloudsettle/core"
)

// page is a short text for a buyer whose registration cannot go on by itself.
type page string

// The pages.
const (
	pageHelp     page = "help"
	pageAccepted page = "accepted"
	pageExpired  page = "expired"
	pageInvalid  page = "invalid"
	pageRefused  page = "refused"
	pageLater    page = "later"
)

// pageText is what a page says: what happened, and what to do.
type pageText struct{ Title, What, Then string }

func (p page) text() pageText {
	const again = "Sign in to AWS, open Manage subscriptions in AWS Marketplace, choose this product " +
		"and click “Set up your account” again."
	switch p {
	case pageHelp:
		return pageText{
			"Start from AWS Marketplace",
			"This address completes a purchase in AWS Marketplace. It needs to be opened from there.", again}
	case pageAccepted:
		return pageText{
			"Your purchase has been received",
			"AWS Marketplace told us about your subscription and we are preparing it.",
			"You need to do nothing more here now. To come back later: " + again}
	case pageExpired:
		return pageText{
			"This link has expired",
			"The link from AWS Marketplace holds for a few hours, and its time is over. " +
				"Your subscription is not affected.", again + " You will not be charged again."}
	case pageRefused:
		return pageText{
			"This subscription cannot be set up",
			"AWS Marketplace told us about a purchase that we cannot accept here.",
			"Please contact us and tell us the reference below."}
	case pageLater:
		return pageText{
			"Please try again in a moment",
			"We could not reach AWS to confirm your purchase. Nothing is lost.",
			"Reload this page and confirm to send the form again. If it keeps failing: " + again}
	default:
		return pageText{
			"This registration is not complete",
			"What we received from your browser does not prove a purchase of this product.", again}
	}
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { font: 16px/1.6 system-ui, sans-serif; color: #1c2733; background: #f5f7fa; margin: 0;
  padding: 8vh 1rem; }
main { max-width: 34rem; margin: auto; background: #fff; padding: 2rem 2.5rem; border-radius: 8px;
  box-shadow: 0 1px 4px #0002; }
h1 { font-size: 1.4rem; margin-top: 0; }
small { color: #5b6b7b; }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.What}}</p>
<p>{{.Then}}</p>
{{with .Support}}<p>Questions? Write to <a href="mailto:{{.}}">{{.}}</a>.</p>
{{end}}{{with .Reference}}<p><small>Reference: {{.}}</small></p>
{{end}}</main>
</body>
</html>
`))

func (a *Adapter) replyPage(status int, p page, reference string) core.Reply {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		pageText
		Support, Reference string
	}{p.text(), a.cfg.SupportEmail, reference})
	if err != nil {
		b.WriteString(p.text().Title) // cannot be: the template is fixed
	}
	h := pageHeader()
	h.Set("Content-Type", "text/html; charset=utf-8")
	return core.Reply{Status: status, Header: h, Body: b.Bytes()}
}

// pageHeader keeps pages of a purchase out of caches, frames and other sites'
// logs.
func pageHeader() http.Header {
	return http.Header{
		"Cache-Control":           {"no-store"},
		"Referrer-Policy":         {"no-referrer"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
		"X-Content-Type-Options":  {"nosniff"},
	}
}
