package landing

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// maxForm bounds the body of a form: the longest has five short fields.
const maxForm = 16 << 10

// Options say how the pages speak of the seller and of the marketplaces.
type Options struct {
	Brand        string // the seller's name for its product
	SupportEmail string // who helps, shown on every page
	// Console is where a buyer goes when all is done; "" means "/".
	Console string
	// PublicURL is how browsers reach the program; forms sent from pages of
	// this origin are ours also where a proxy changes the host.
	PublicURL string
	// Marketplaces has what buyers call each provider; one that is missing is
	// called "the marketplace".
	Marketplaces map[marketplace.Provider]Marketplace
	// Sites has the names of sites by their codes; one that is missing is
	// shown by its code.
	Sites map[string]string
}

// Marketplace is what buyers know of a provider.
type Marketplace struct {
	Name string
	// Reopen says what to do there to get to the landing page again, as an
	// instruction: "Open your purchased services and choose “Sign in”."
	Reopen string
}

// pages serves the landing pages of one service.
type pages struct {
	Options

	svc      *core.Service
	look     look
	csrf     *http.CrossOriginProtection
	attempts attempts
}

// Register routes /landing/{opaque} and the forms below it. It fails if
// PublicURL is not an origin.
func Register(e *echo.Echo, svc *core.Service, o Options) error {
	p := &pages{Options: o, svc: svc, look: newLook(), csrf: http.NewCrossOriginProtection()}
	if p.Console == "" {
		p.Console = "/"
	}
	if o.PublicURL != "" {
		u, err := url.Parse(o.PublicURL)
		if err != nil {
			return core.Invalid("public_url", "is no URL")
		}
		if err := p.csrf.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return core.Invalid("public_url", "must be like https://billing.example.com")
		}
	}
	e.GET("/landing/:opaque", p.visited((*visit).show))
	e.POST("/landing/:opaque/code", p.sent((*visit).sendCode))
	e.POST("/landing/:opaque/signin", p.sent((*visit).signIn))
	e.POST("/landing/:opaque/register", p.sent((*visit).register))
	e.POST("/landing/:opaque/bind", p.sent((*visit).bind))
	return nil
}

// visit is one request by the bearer of a link that holds.
type visit struct {
	*pages

	c    echo.Context
	link core.Link
	path string // of the landing page itself
	page core.LandingPage
}

// visited opens the link and loads what its bearer may see.
func (p *pages) visited(serve func(*visit) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		p.look.protect(c.Response().Header())
		ctx, opaque := c.Request().Context(), c.Param("opaque")
		link, err := p.svc.OpenLanding(ctx, opaque)
		if errors.Is(err, core.ErrExpired) {
			return p.expired(c, link)
		}
		if err != nil {
			return p.fail(c, core.ErrNotFound)
		}
		page, err := p.svc.Landing(ctx, link)
		if err != nil {
			return p.fail(c, err)
		}
		return serve(&visit{pages: p, c: c, link: link, path: "/landing/" + opaque, page: page})
	}
}

// sent is visited for forms: they must come from our own page.
func (p *pages) sent(serve func(*visit) error) echo.HandlerFunc {
	visited := p.visited(serve)
	return func(c echo.Context) error {
		r := c.Request()
		if p.csrf.Check(r) != nil {
			p.look.protect(c.Response().Header())
			return p.fail(c, core.ErrForbidden)
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			p.look.protect(c.Response().Header())
			return p.fail(c, core.ErrInvalid)
		}
		return visited(c)
	}
}

// words returns what buyers know of a provider.
func (p *pages) words(id marketplace.Provider) Marketplace {
	m := p.Marketplaces[id]
	if m.Name == "" {
		m.Name = "the marketplace"
	}
	if m.Reopen == "" {
		m.Reopen = "Open your purchases there and open the product again."
	}
	return m
}
