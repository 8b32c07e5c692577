package operate

// Fingerprint is open to tests.
var Fingerprint = fingerprint
