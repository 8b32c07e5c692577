package notifications

import "github.com/eventspine/spine/schemas/common"

// What the external test looks at.
var Amount = amount

// KeyOf is the key of a refund.
func KeyOf(ref common.Ref, refundID string) string { return keyOf(refundNote, ref, refundID) }
