package landing

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"

	"github.com/labstack/echo/v4"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

// look is how pages are written and protected.
type look struct {
	page   *template.Template
	policy string
}

// newLook parses the template and allows the one style sheet, by its digest,
// and nothing else.
func newLook() look {
	digest := sha256.Sum256([]byte(styleCSS))
	return look{
		page: template.Must(template.New("page").Parse(pageHTML)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
			"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}
}

// protect sets the headers of every page. The referrer stays within the site
// and is not left out altogether: browsers that do not send Sec-Fetch-Site
// would then also hide the Origin of our own forms, and these be refused.
func (l look) protect(h http.Header) {
	h.Set("Content-Security-Policy", l.policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// write renders v.
func (p *pages) write(c echo.Context, status int, v view) error {
	v.Brand, v.Support, v.CSS = p.Brand, p.SupportEmail, template.CSS(styleCSS) // #nosec -- our own file
	var page bytes.Buffer
	if err := p.look.page.Execute(&page, v); err != nil {
		return err
	}
	return c.HTMLBlob(status, page.Bytes())
}
