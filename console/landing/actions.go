package landing

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/workspace"
)

// formKey is the prefix of the keys that make a form safe to send twice.
const formKey = "form"

// show shows the page itself.
func (v *visit) show() error { return v.again(http.StatusOK, "", input{}) }

// again shows the page with what was sent, if anything was.
func (v *visit) again(status int, sent string, in input) error {
	out := v.view(sent, in)
	if len(in.faults) > 0 && len(out.Faults()) == 0 {
		status = http.StatusConflict // the form that was sent is not on the page any more
	}
	return v.write(v.c, status, out)
}

// sendCode mails a code to whom the form names. The page is the same whether
// there is such an account or not.
func (v *visit) sendCode() error {
	in := v.input()
	login := in.get("login")
	if login == "" || len(login) > maxLogin {
		in.fault("login", "Enter the user name, e-mail or phone of your billing account.")
		return v.again(http.StatusUnprocessableEntity, "signin", in)
	}
	if !v.attempt() {
		return v.fail(v.c, errTooOften)
	}
	if err := v.svc.SendCode(v.c.Request().Context(), login); err != nil {
		return v.fail(v.c, err)
	}
	return v.askCode(http.StatusOK, login, input{}, "If there is a billing account for "+login+
		", a code is on its way to its e-mail address.")
}

// askCode asks for the code that was mailed.
func (v *visit) askCode(status int, login string, in input, lead string) error {
	return v.write(v.c, status, view{
		Title: "Enter your code", Lead: lead, Step: 1, Facts: v.facts(), Forms: v.codeForms(login, in),
		Back: &anchor{"Start over", v.path},
	})
}

// signIn checks the code and goes on to the page of those who are signed in.
func (v *visit) signIn() error {
	in := v.input()
	login, code := in.get("login"), strings.ReplaceAll(in.get("code"), " ", "")
	if !v.attempt() {
		return v.fail(v.c, errTooOften)
	}
	acc, err := v.svc.CheckCode(v.c.Request().Context(), login, code)
	if errors.Is(err, core.ErrUnverified) {
		in.fault("code", "This code is wrong, was used before, or is too old. After five attempts ask for a new one.")
		return v.askCode(http.StatusUnprocessableEntity, login, in,
			"If there is a billing account for "+login+", we mailed a code to it.")
	}
	if err != nil {
		return v.fail(v.c, err)
	}
	return v.stay(acc, nil)
}

// stay goes on to the page of an account that signed in.
func (v *visit) stay(acc account.ID, query url.Values) error {
	to := v.svc.StayPath(v.page.Subscription.ID, acc)
	if len(query) > 0 {
		to += "?" + query.Encode()
	}
	return v.c.Redirect(http.StatusSeeOther, to)
}

// register creates a billing account and mails a code to it: an address that
// was mistyped would lock its owner out for ever.
func (v *visit) register() error {
	in := v.input()
	if v.page.Owner != nil || !v.usable() {
		return v.again(http.StatusConflict, "", input{})
	}
	if !v.attempt() {
		return v.fail(v.c, errTooOften)
	}
	ctx := v.c.Request().Context()
	a, err := v.svc.CreateBillingAccount(ctx, v.request(in), account.Account{
		UserName: in.get("user_name"), Email: in.get("email"), Phone: digits(in.get("phone")),
		Currency: v.page.Listing.Currency,
	})
	if err != nil {
		return v.refused(err, "register", in, map[string]string{
			"user_name_taken": "user_name", "email_taken": "email", "phone_taken": "phone",
			codeKeyReused: "user_name",
		})
	}
	if err := v.svc.SendCode(ctx, a.UserName); err != nil {
		return v.fail(v.c, err)
	}
	return v.askCode(http.StatusOK, a.UserName, input{}, "Your billing account "+a.UserName+
		" was created. To make sure that the address is right, we mailed a code to "+a.Email+".")
}

// request makes a form that is sent twice take effect once.
func (v *visit) request(in input) core.Request {
	r := core.Request{Actor: core.Actor{Name: "landing:" + string(v.page.Subscription.ID)}, Key: in.key()}
	if r.Key != "" {
		sum := sha256.Sum256([]byte(in.values.Encode()))
		r.Digest = hex.EncodeToString(sum[:])
	}
	return r
}

// key returns the form's key, or "" if it is none of ours.
func (in input) key() string {
	if key := in.get("key"); id.Valid(formKey, key) {
		return key
	}
	return ""
}

// digits drops what people put between the digits of a phone number.
func digits(phone string) string {
	return strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "").Replace(phone)
}

// bind binds the chosen workspace and shows the result.
func (v *visit) bind() error {
	in := v.input()
	if v.page.Account == nil {
		return v.c.Redirect(http.StatusSeeOther, v.path)
	}
	way := in.get("way")
	if way != chosenOwn && way != chosenNew && way != chosenID {
		return v.fail(v.c, core.ErrInvalid)
	}
	choice, ok := in.choice(way)
	if !ok {
		return v.again(http.StatusUnprocessableEntity, way, in)
	}
	ws, err := v.svc.BindBuyer(v.c.Request().Context(), v.link, choice)
	if err != nil {
		return v.refused(err, way, in, blameChosen(way))
	}
	return v.stay(v.link.Account, url.Values{"bound": {string(ws)}})
}

// choice returns what the form chose. It reports false if it chose nothing.
func (in *input) choice(way string) (core.Choice, bool) {
	if way == chosenNew {
		return core.Choice{Name: in.get("name"), Site: in.get("site"), Key: in.key()}, true
	}
	ws := in.get("workspace")
	if ws == "" || len(ws) > maxChoice {
		in.fault("workspace", "Choose a workspace, or enter its ID.")
		return core.Choice{}, false
	}
	return core.Choice{Workspace: workspace.ID(ws)}, true
}

// blameChosen says which field is to blame for a rule that forbids a binding.
func blameChosen(way string) map[string]string {
	name := "workspace"
	if way == chosenNew {
		name = "site"
	}
	out := map[string]string{}
	for _, code := range []string{
		codeNotFound, "bound_to_another_account", "settled_by_cloud_account", "opened_by_marketplace",
		"site_settles_elsewhere", "changed_this_month",
	} {
		out[code] = name
	}
	return out
}

// refused shows the form that was sent with what is wrong in it.
func (v *visit) refused(err error, sent string, in input, byCode map[string]string) error {
	var f *core.Fault
	switch {
	case errors.As(err, &f) && in.blame(f, byCode):
		if in.faults["currency"] != "" { // no field: it is the listing's
			return v.fail(v.c, fmt.Errorf("landing: listing %s: %s", v.page.Listing.ID, err.Error()))
		}
		return v.again(http.StatusUnprocessableEntity, sent, in)
	case errors.Is(err, core.ErrConflict): // the purchase changed meanwhile
		return v.reload()
	}
	return v.fail(v.c, err)
}

// reload shows the page as things are now.
func (v *visit) reload() error {
	page, err := v.svc.Landing(v.c.Request().Context(), v.link)
	if err != nil {
		return v.fail(v.c, err)
	}
	v.page = page
	return v.again(http.StatusConflict, "", input{})
}

// input returns what the form held.
func (v *visit) input() input { return input{values: v.c.Request().PostForm} }

// attempt counts an attempt of somebody who is not signed in.
func (v *visit) attempt() bool { return v.attempts.allow(v.page.Subscription.ID, v.svc.Now()) }
