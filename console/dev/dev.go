package dev

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/core"
)

// maxClockBody bounds the body of PUT /dev/clock: one time.
const maxClockBody = 1 << 10

//go:embed inbox.html
var inboxHTML string

// policy lets the page use nothing but its own inline style.
const policy = "default-src 'none'; style-src 'unsafe-inline'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Register routes /dev/inbox and /dev/clock.
func Register(e *echo.Echo, inbox *Inbox, clock *Clock) {
	h := handlers{inbox: inbox, clock: clock, page: template.Must(template.New("inbox").Parse(inboxHTML))}
	e.GET("/dev/inbox", h.getInbox)
	e.GET("/dev/clock", h.getClock)
	e.PUT("/dev/clock", h.putClock)
}

type handlers struct {
	inbox *Inbox
	clock *Clock
	page  *template.Template
}

// getInbox shows the mails, newest first, those to one address with ?to=. It
// answers JSON to ?format=json and to those who accept JSON and not HTML.
func (h handlers) getInbox(c echo.Context) error {
	to := c.QueryParam("to")
	messages := h.inbox.Messages(to)
	accept := c.Request().Header.Get("Accept")
	c.Response().Header().Set("Cache-Control", "no-store")
	if c.QueryParam("format") == "json" ||
		strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html") {
		return c.JSON(http.StatusOK, map[string]any{"data": messages})
	}
	var page bytes.Buffer
	err := h.page.Execute(&page, map[string]any{"Messages": messages, "To": to, "Now": h.clock.Now()})
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Security-Policy", policy)
	c.Response().Header().Set("X-Content-Type-Options", "nosniff")
	return c.HTMLBlob(http.StatusOK, page.Bytes())
}

func (h handlers) getClock(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]time.Time{"now": h.clock.Now()})
}

// putClock moves the clock forward to {"now": RFC 3339}.
func (h handlers) putClock(c echo.Context) error {
	now, err := clockBody(c.Request().Body)
	if err == nil {
		err = h.clock.Set(now)
	}
	if err != nil {
		return refuse(c, err)
	}
	return h.getClock(c)
}

func clockBody(r io.Reader) (time.Time, error) {
	var body struct {
		Now *time.Time `json:"now"`
	}
	dec := json.NewDecoder(io.LimitReader(r, maxClockBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil || body.Now == nil {
		return time.Time{}, core.Invalid("invalid_body", `the body must be {"now": "…"} with a time of RFC 3339`)
	}
	return *body.Now, nil
}

// refuse answers with a problem of RFC 9457.
func refuse(c echo.Context, err error) error {
	status, f := http.StatusUnprocessableEntity, &core.Fault{Code: "internal"}
	errors.As(err, &f)
	if errors.Is(err, core.ErrConflict) {
		status = http.StatusConflict
	}
	body, err := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": f.Code, "detail": f.Detail,
	})
	if err != nil {
		return err
	}
	return c.Blob(status, "application/problem+json", body)
}
