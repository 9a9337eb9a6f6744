package main

import (
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// browser reads pages and sends forms as a person without scripts does.
type browser struct {
	t      *testing.T
	client *http.Client
	url    *url.URL
	page   *html.Node
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, client: &http.Client{Jar: jar, Timeout: 20 * time.Second}, url: &url.URL{}}
}

// open goes to an address, which may be relative to the page.
func (b *browser) open(address string) {
	b.t.Helper()
	b.load(http.MethodGet, address, nil)
}

// follow clicks on the first link with a text.
func (b *browser) follow(text string) {
	b.t.Helper()
	for n := range b.page.Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && words(n) == text {
			b.open(attr(n, "href"))
			return
		}
	}
	b.t.Fatalf("%s has no link %q: %s", b.url, text, words(b.page))
}

// press fills in and sends the first form that has a button with a text.
func (b *browser) press(button string, values map[string]string) {
	b.t.Helper()
	for n := range b.page.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" || !hasButton(n, button) {
			continue
		}
		fields := fieldsOf(n)
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if _, ok := fields[name]; !ok {
				b.t.Fatalf("%s: the form %q has no field %q", b.url, button, name)
			}
			fields.Set(name, values[name])
		}
		b.load(http.MethodPost, attr(n, "action"), fields)
		return
	}
	b.t.Fatalf("%s has no button %q: %s", b.url, button, words(b.page))
}

// can reports whether the page has a button with a text.
func (b *browser) can(button string) bool { return hasButton(b.page, button) }

// see fails if the page's heading is another one.
func (b *browser) see(heading string) {
	b.t.Helper()
	for n := range b.page.Descendants() {
		if n.Type == html.ElementNode && n.Data == "h1" {
			if got := words(n); got != heading {
				b.t.Fatalf("%s is headed %q, want %q: %s", b.url, got, heading, words(b.page))
			}
			return
		}
	}
	b.t.Fatalf("%s has no heading, want %q", b.url, heading)
}

func (b *browser) load(method, address string, form url.Values) {
	b.t.Helper()
	to, err := b.url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", b.url.Scheme+"://"+b.url.Host)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b.page, err = html.Parse(resp.Body); err != nil {
		b.t.Fatal(err)
	}
	b.url = resp.Request.URL
	if resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s = %s: %s", method, to, resp.Status, words(b.page))
	}
}

// fieldsOf returns what the form sends when nobody touches it. Choices that
// are open have an empty value.
func fieldsOf(form *html.Node) url.Values {
	out := url.Values{}
	for n := range form.Descendants() {
		name := attr(n, "name")
		switch {
		case name == "" || n.Data == "button":
		case n.Data == "select":
			out.Set(name, firstOption(n))
		case attr(n, "type") == "radio" || attr(n, "type") == "checkbox":
			out.Set(name, "")
		default:
			out.Set(name, attr(n, "value"))
		}
	}
	return out
}

func firstOption(list *html.Node) string {
	for n := range list.Descendants() {
		if n.Data == "option" {
			return attr(n, "value")
		}
	}
	return ""
}

func hasButton(within *html.Node, text string) bool {
	for n := range within.Descendants() {
		if n.Type == html.ElementNode && n.Data == "button" && words(n) == text {
			return true
		}
	}
	return false
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// words returns the text of n with single spaces.
func words(n *html.Node) string {
	var out strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && (d.Parent == nil || d.Parent.Data != "style") {
			out.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}
