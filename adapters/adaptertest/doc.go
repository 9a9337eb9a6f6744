// Package adaptertest is the conformance suite of marketplace adapters: what
// every one of them promises, whatever its dialect.
//
// A fixture NAME.http is one raw HTTP request as the marketplace sends it;
// NAME.want is what it means and what we answer, as JSON. Run with -update to
// rewrite the .want files and review the diff. From every signed fixture the
// suite derives forgeries by itself: each byte of the body and each parameter
// changed, dropped, renamed and emptied must be refused.
package adaptertest
