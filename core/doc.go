// Package core is the program without its edges: the ports to marketplaces
// and stores, and the services that carry a verified callback to its effect.
//
// A callback flows one way:
//
//	bytes → Adapter.Receive (verify, normalize) → Service.Apply (decide, one
//	transaction) → Adapter.Reply (total) → bytes
//
// Rules live in core and in the pure packages below it. Stores hold no rules,
// adapters hold only their marketplace's dialect.
package core
