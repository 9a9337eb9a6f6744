// Package webhooks receives the callbacks of marketplaces over HTTP.
//
// Its whole work is to turn a request into a [core.Callback] and a
// [core.Reply] into a response, byte for byte, with a limit on everything a
// stranger can make it spend. What a callback means is decided in core; how a
// refusal sounds is decided by the marketplace's adapter, also for requests
// that are too large or could not be read.
package webhooks
