// Package console is what people and their programs see: the front page here,
// the REST API in api, the page after a purchase in landing.
package console

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"

	"github.com/labstack/echo/v4"
)

//go:embed home.html
var homeHTML string

// policy lets the page use nothing but its own inline style.
const policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

// Link is one place to go from the front page.
type Link struct{ Title, Text, URL string }

// Home is what the front page shows.
type Home struct {
	Brand, SupportEmail string
	Links               []Link
}

// Register routes the front page.
func Register(e *echo.Echo, h Home) error {
	page, err := template.New("home").Parse(homeHTML)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, h); err != nil {
		return err
	}
	e.GET("/", func(c echo.Context) error {
		head := c.Response().Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		return c.HTMLBlob(http.StatusOK, b.Bytes())
	})
	return nil
}
