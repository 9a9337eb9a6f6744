package landing_test

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"cloudsettle/core/marketplace"
)

// storybook keeps the pages of TestStorybook, to be looked at:
//
//	go test ./console/landing -run Storybook -storybook /tmp/pages
var storybook = flag.String("storybook", "", "folder to write every state of the page to")

// TestStorybook renders every state of the page and checks what all of them
// promise.
func TestStorybook(t *testing.T) {
	t.Parallel()
	for name, show := range map[string]func(*bundle) *tab{
		"start": func(b *bundle) *tab { return b.open(b.buy()) },
		"start-bad": func(b *bundle) *tab {
			return b.open(b.buy()).send("register", "user_name", "1", "email", "ops", "phone", "12")
		},
		"signin-bad": func(b *bundle) *tab { return b.open(b.buy()).send("signin") },
		"code":       func(b *bundle) *tab { return b.open(b.buy()).send("signin", "login", "acme") },
		"code-bad": func(b *bundle) *tab {
			return b.open(b.buy()).send("signin", "login", "acme").send("code", "code", "123456")
		},
		"registered": func(b *bundle) *tab {
			return b.open(b.buy()).send("register", "user_name", "acme", "email", "ops@acme.example")
		},
		"choose":     func(b *bundle) *tab { return b.open(b.stay(b.buy(), b.account("acme"))) },
		"choose-own": chooseOwn,
		"choose-bad": func(b *bundle) *tab { return chooseOwn(b).send("id", "workspace", "ws_01") },
		"new-bad":    func(b *bundle) *tab { return chooseOwn(b).send("new", "name", "", "site", "") },
		"own-bad":    func(b *bundle) *tab { return chooseOwn(b).send("own") },
		"bound":      bound,
		"bound-again": func(b *bundle) *tab {
			return b.open(bound(b).path)
		},
		"hostile-name": func(b *bundle) *tab {
			return b.open(b.stay(b.buy(), b.account("acme"))).send("new", "name", `"><script>x</script>{{.}}`+strings.Repeat("W", 30), "site", "cn1")
		},
		"claimed": func(b *bundle) *tab { return b.open(claimed(b)) },
		"foreign": func(b *bundle) *tab { return b.open(b.stay(claimed(b), b.account("other"))) },
		"pending": func(b *bundle) *tab { return b.open(b.tell("o", marketplace.Registered, "1")) },
		"frozen": func(b *bundle) *tab {
			path := bound(b).path
			b.tell("order-1", marketplace.Expired, "2")
			return b.open(path)
		},
		"ending":  func(b *bundle) *tab { b.buy(); return b.open(b.tell("order-1", marketplace.Ending, "2")) },
		"ended":   func(b *bundle) *tab { b.buy(); return b.open(b.tell("order-1", marketplace.Ended, "2")) },
		"expired": expired,
		"bad":     func(b *bundle) *tab { return b.open("/landing/x") },
		"cross-site": func(b *bundle) *tab {
			t := b.open(b.buy())
			t.post(t.path+"/code", url.Values{}, "Sec-Fetch-Site", "cross-site")
			return t
		},
		"closed": func(b *bundle) *tab {
			path := b.buy()
			if err := b.svc.Store.Close(); err != nil {
				b.Fatal(err)
			}
			return b.open(path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tab := show(setup(t))
			checkPage(t, tab)
			if *storybook != "" {
				if err := os.WriteFile(filepath.Join(*storybook, name+".html"), []byte(tab.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func chooseOwn(b *bundle) *tab {
	acc := b.account("acme")
	b.workspace("production", "cn1", acc)
	b.workspace("staging", "cn2", acc)
	return b.open(b.stay(b.buy(), acc))
}

func bound(b *bundle) *tab { return chooseOwn(b).send("new", "name", "analytics", "site", "cn1") }

func claimed(b *bundle) string {
	path := b.buy()
	b.open(b.stay(path, b.account("acme"))).send("new", "name", "analytics", "site", "cn1")
	return path
}

func expired(b *bundle) *tab {
	path := b.buy()
	if err := b.clock.Set(start.AddDate(2, 0, 0)); err != nil {
		b.Fatal(err)
	}
	return b.open(path)
}

// checkPage checks what every page promises: to those who use a keyboard or a
// screen reader, and to those whose browser is attacked.
func checkPage(t *testing.T, tab *tab) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=UTF-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
	} {
		if got := tab.head.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(tab.text, "support@example.com") {
		t.Error("the page does not say who helps")
	}
	checkPolicy(t, tab)
	checkOutline(t, tab)
	checkReferences(t, tab)
}

// checkPolicy: the policy allows the one style sheet of the page and nothing else.
func checkPolicy(t *testing.T, tab *tab) {
	t.Helper()
	style := tab.find(func(n *html.Node) bool { return n.Data == "style" })
	if style == nil || style.FirstChild == nil {
		t.Fatal("the page has no style")
	}
	digest := sha256.Sum256([]byte(style.FirstChild.Data))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	if got := tab.head.Get("Content-Security-Policy"); got != want {
		t.Errorf("policy = %q, want %q", got, want)
	}
	for n := range tab.doc.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || n.Data == "script" {
				t.Errorf("<%s %s=%q> is nothing that the policy allows", n.Data, a.Key, a.Val)
			}
		}
	}
}

// checkOutline: one first heading, and no level left out below it.
func checkOutline(t *testing.T, tab *tab) {
	t.Helper()
	level, first := byte('0'), 0
	for n := range tab.doc.Descendants() {
		if n.Type != html.ElementNode || len(n.Data) != 2 || n.Data[0] != 'h' || n.Data[1] < '1' || n.Data[1] > '6' {
			continue
		}
		if n.Data[1] > level+1 || text(n) == "" {
			t.Errorf("<%s>%s</%s> comes after level %c", n.Data, text(n), n.Data, level)
		}
		if level = n.Data[1]; level == '1' {
			first++
		}
	}
	if first != 1 {
		t.Errorf("first headings = %d, want 1", first)
	}
}

// checkReferences: identifiers are unique, every field has a label, and what
// describes a field is there.
func checkReferences(t *testing.T, tab *tab) {
	t.Helper()
	ids, labels, focus := map[string]bool{}, map[string]bool{}, 0
	for n := range tab.doc.Descendants() {
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("id %q is there twice", id)
			}
			ids[id] = true
		}
		if n.Data == "label" && text(n) != "" {
			labels[attr(n, "for")] = true
		}
	}
	for n := range tab.doc.Descendants() {
		if (n.Data == "input" && attr(n, "type") != "hidden" || n.Data == "select") && !labels[attr(n, "id")] {
			t.Errorf("field %q has no label", attr(n, "name"))
		}
		refs := strings.Fields(attr(n, "aria-describedby") + " " + attr(n, "aria-labelledby"))
		if to, ok := strings.CutPrefix(attr(n, "href"), "#"); ok {
			refs = append(refs, to)
		}
		for _, ref := range refs {
			if !ids[ref] {
				t.Errorf("<%s> refers to %q, which is not there", n.Data, ref)
			}
		}
		for _, a := range n.Attr {
			if a.Key == "autofocus" {
				focus++
			}
		}
	}
	if focus > 1 {
		t.Errorf("%d fields ask for the focus", focus)
	}
}
