// Package landing is the page that a buyer sees after a purchase on a
// marketplace: it shows what was bought, lets the buyer sign in or register,
// and binds a workspace to the purchase.
//
// Its pages are plain HTML forms that need no script, so they work in every
// browser that a marketplace may open them in, and their content security
// policy can forbid everything. There is no session either: the path itself
// proves that its bearer came from the marketplace and, later, who signed in.
// Such a path is as good as a password for as long as it holds, which is why
// no page is stored, framed or told to other sites.
package landing
