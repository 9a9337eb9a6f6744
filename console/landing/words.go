package landing

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// state says what it means that the subscription is not active, and what to
// do; nil if it is.
func (v *visit) state() *notice {
	market := v.words(v.page.Subscription.Provider).Name
	switch v.page.Subscription.Status {
	case marketplace.StatusPending:
		return &notice{"info", "Waiting for confirmation", "We are waiting until " + market +
			" confirms this purchase, usually for some minutes. You can connect it to a billing account " +
			"now, and bind a workspace once it is active."}
	case marketplace.StatusFrozen:
		return &notice{"warn", "This purchase is paused", "Its term is over, or a payment is due. " +
			"The workspaces that it settles are locked, and their data is kept for " +
			days(workspace.BufferPeriod) + ". Renew or pay on " + market +
			": they are then unlocked, and workspaces can be bound again."}
	case marketplace.StatusEnding:
		return &notice{"warn", "This purchase is being cancelled", "The last usage is reported to " + market +
			", and no workspace can be bound to it any more. To go on, buy the product again."}
	case marketplace.StatusEnded:
		return v.ended(market)
	}
	return nil
}

func (v *visit) ended(market string) *notice {
	n := &notice{"warn", "This purchase has ended", ""}
	switch {
	case v.page.Subscription.Replaced || v.page.Subscription.Next != "":
		n.Text = "A newer purchase replaces it and takes over its workspaces. Open that one on " + market + "."
	case v.page.Listing.OnRelease == workspace.SettleByWallet:
		n.Text = "The workspaces that it settled are now paid by their billing account. " +
			"To settle them through " + market + " again, buy the product again."
	default:
		n.Text = "The workspaces that it settled are locked, and their data is kept for " +
			days(workspace.BufferPeriod) + ". Buy the product again on " + market + " or choose another settlement to unlock them."
	}
	return n
}

func days(d time.Duration) string { return fmt.Sprintf("%.0f days", d.Hours()/24) }

// foreign is shown to those who signed in to another account than the one
// that the purchase belongs to.
func foreign() *notice {
	return &notice{"bad", "This purchase belongs to another billing account",
		"It was connected to another account before, and only that account can bind workspaces to it. " +
			"Sign in with that account here, or ask for help if you do not know it."}
}

// expired tells the bearer of a link that is too old how to get a new one.
func (p *pages) expired(c echo.Context, link core.Link) error {
	m := p.words("")
	if page, err := p.svc.Landing(c.Request().Context(), core.Link{Subscription: link.Subscription}); err == nil {
		m = p.words(page.Subscription.Provider)
	}
	return p.write(c, http.StatusGone, view{
		Title: "This link has expired",
		Lead:  "Links to this page work for a limited time only, because whoever has one can connect the purchase.",
		Notice: &notice{
			"info", "Get a new link",
			"Go back to " + m.Name + ". " + m.Reopen + " Nothing that you bought or bound is lost.",
		},
	})
}

// fail shows a page for an error that no field is to blame for. Faults of ours
// go on to the server's log; the page says nothing about them.
func (p *pages) fail(c echo.Context, err error) error {
	id := p.svc.NewID("req")
	c.Response().Header().Set("X-Request-Id", id)
	for _, known := range []struct {
		err    error
		status int
		view   view
	}{
		{core.ErrNotFound, http.StatusNotFound, view{
			Title: "This link does not work",
			Lead: "Perhaps it was not copied whole. Go back to the marketplace where you bought the product, " +
				"and open it again from there.",
		}},
		{core.ErrForbidden, http.StatusForbidden, view{
			Title: "This form was not sent from our page",
			Lead: "Nothing was changed. Go back to the marketplace where you bought the product, " +
				"and open it again from there.",
		}},
		{core.ErrInvalid, http.StatusBadRequest, view{
			Title: "This form cannot be read", Lead: "Nothing was changed. Go back, and try again.",
		}},
		{errTooOften, http.StatusTooManyRequests, view{
			Title: "Too many attempts", Lead: "Nothing was changed. Wait some minutes, go back, and try again.",
		}},
		{core.ErrUnavailable, http.StatusServiceUnavailable, view{
			Title: "We cannot do this right now",
			Lead:  "Wait a minute, go back, and try again. What was done before is not done twice.",
		}},
	} {
		if errors.Is(err, known.err) {
			return p.write(c, known.status, known.view)
		}
	}
	p.svc.Log.Error("landing page", "error", err, "request_id", id)
	return p.write(c, http.StatusInternalServerError, view{
		Title: "Something went wrong on our side",
		Lead:  "Wait a minute, go back, and try again. If it happens again, tell our support this number: " + id,
	})
}
