package landing

import (
	"html/template"
	"strconv"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// view is what the template shows. Empty parts are left out.
type view struct {
	Brand, Support string
	CSS            template.CSS

	Title  string
	Lead   string
	Step   int // 1 account, 2 workspace, 3 done; 0 shows no steps
	Notice *notice
	Facts  []fact // about the purchase
	Who    string // the account that signed in
	Bound  []boundWorkspace
	Choice string // heading above forms that are alternatives
	Folded bool   // the forms are not the main thing any more
	Forms  []form
	Next   *anchor // above the forms: what to do when they are not needed
	Back   *anchor // below them
}

// notice is a message in a box of its own.
type notice struct {
	Tone  string // info, good, warn or bad: the style, never the only sign
	Title string
	Text  string
}

type fact struct {
	Name, Value string
	Time        time.Time // shown instead of Value
	Badge       string    // style of a badge around Value
}

// When returns the time in words.
func (f fact) When() string { return f.Time.UTC().Format("2 January 2006, 15:04 UTC") }

type boundWorkspace struct{ Name, ID, Site, Status string }

type anchor struct{ Text, Href string }

// Faults lists the wrong fields of all forms.
func (v view) Faults() (out []field) {
	for _, f := range v.Forms {
		for _, in := range f.Fields {
			if in.Error != "" {
				out = append(out, in)
			}
		}
	}
	return out
}

// view returns the page for the state that the purchase is in. sent names the
// form that was sent, if one was, and in is what it held.
func (v *visit) view(sent string, in input) view {
	out := view{Facts: v.facts(), Notice: v.state(), Step: 1}
	v.signed(&out)
	of := func(id string) input {
		if id == sent {
			return in
		}
		return input{}
	}
	switch {
	case v.foreign():
		out.Notice, out.Step, out.Forms = foreign(), 1, []form{v.onlySignIn(of("signin"))}
	case v.page.Account != nil && v.live():
		v.chooseWorkspace(&out, of)
	case v.page.Account != nil:
		out.Step = 0
	case v.page.Owner != nil:
		out.Title = "Sign in"
		out.Lead = "This purchase is connected to a billing account. " +
			"Sign in to that account to see and bind its workspaces."
		out.Forms = []form{v.onlySignIn(of("signin"))}
	case v.usable():
		out.Title = "Finish setting up " + v.Brand
		out.Lead = "Connect this purchase to a billing account: the one that you have, or a new one."
		out.Choice = "Do you have a billing account?"
		out.Forms = []form{v.signInForm(of("signin")), v.registerForm(of("register"))}
	default:
		out.Step = 0
	}
	if out.Title == "" {
		out.Title = "Your purchase"
	}
	if v.page.Subscription.Status == marketplace.StatusPending {
		out.Back = &anchor{"Check again", v.path}
	}
	return out
}

// signed shows who signed in and what is bound.
func (v *visit) signed(out *view) {
	a := v.page.Account
	if a == nil {
		return
	}
	out.Who, out.Step = a.UserName, 2
	for _, w := range v.page.Bound {
		out.Bound = append(out.Bound, boundWorkspace{
			Name: w.Name, ID: string(w.ID), Site: v.siteName(w.Site), Status: string(w.Status()),
		})
	}
	if len(out.Bound) > 0 {
		out.Next = &anchor{"Open " + v.Brand, v.Console}
	}
}

// chooseWorkspace shows the ways to bind a workspace, and what is bound.
func (v *visit) chooseWorkspace(out *view, of func(string) input) {
	out.Title = "Bind a workspace"
	out.Lead = "The usage of a bound workspace is settled through this purchase."
	out.Choice = "Which workspace?"
	if n := len(out.Bound); n > 0 {
		out.Step, out.Title = 3, "Already bound"
		out.Lead = "This purchase settles the workspaces below."
		out.Choice, out.Folded = "Bind another workspace", true
	}
	if name := v.justBound(); name != "" {
		out.Title = "Workspace " + name + " is bound"
		out.Lead = "From now on its usage is settled through this purchase."
		out.Notice = &notice{Tone: "good", Title: "All set", Text: "You can close this page, or bind more workspaces."}
	}
	out.Forms = v.workspaceForms(of)
}

// justBound returns the name of the workspace that the last form bound, or "".
func (v *visit) justBound() string {
	id := workspace.ID(v.c.QueryParam("bound"))
	for _, w := range v.page.Bound {
		if w.ID == id {
			return w.Name
		}
	}
	return ""
}

// foreign reports whether somebody else claimed the cloud account.
func (v *visit) foreign() bool {
	return v.page.Account != nil && v.page.Owner != nil && v.page.Account.ID != v.page.Owner.ID
}

func (v *visit) live() bool { return v.page.Subscription.Live() }

// usable reports whether it makes sense to connect the purchase now.
func (v *visit) usable() bool {
	return v.live() || v.page.Subscription.Status == marketplace.StatusPending
}

func (v *visit) siteName(code string) string {
	if name := v.Sites[code]; name != "" {
		return name
	}
	return code
}

// facts lists what was bought.
func (v *visit) facts() []fact {
	sub, acc := &v.page.Subscription, &v.page.CloudAccount
	facts := []fact{
		{Name: "Bought on", Value: v.Marketplaces[sub.Provider].Name},
		{Name: "Listing", Value: string(sub.Listing)},
		{Name: "Plan", Value: sub.SKU},
		{Name: "Quantity", Value: quantity(sub.Quantity)},
		{Name: "Status", Value: string(sub.Status), Badge: string(sub.Status)},
		{Name: "Trial", Value: trial(sub.Trial)},
		{Name: "Term ends", Value: "no fixed end", Time: sub.ExpiresAt},
		{Name: "Cloud account", Value: acc.ProviderID},
		{Name: "Account name", Value: acc.Name},
		{Name: "Purchase number", Value: sub.Subject},
	}
	kept := facts[:0]
	for _, f := range facts {
		if f.Value != "" {
			kept = append(kept, f)
		}
	}
	return kept
}

func quantity(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func trial(yes bool) string {
	if yes {
		return "yes"
	}
	return ""
}
