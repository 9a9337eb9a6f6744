// Package dev is what only a development server has: an inbox of the mails
// that would have been sent, and a clock that can be moved forward. Neither is
// protected in any way; a server for strangers must not have it.
package dev
