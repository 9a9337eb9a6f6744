package core

// SettleDue is what Run does every minute.
var SettleDue = (*Service).settleDue
