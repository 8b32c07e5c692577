package lint

import "testing"

func TestPastTense(t *testing.T) {
	t.Parallel()
	for _, past := range []string{
		"placed", "cancelled", "reservation-released", "shortage-detected", "level-changed", "closed-won", "closed-lost",
		"paid", "sent", "held", "run", "sold", "reopened", "run-completed", "linked", "withdrawn", "split", "handed-over", "parcel-handed-over", "checked-in",
	} {
		if ok, suggestion := pastTense(past); !ok {
			t.Errorf("%s is refused for %s", past, suggestion)
		}
	}
	for verb, want := range map[string]string{
		"place": "placed", "places": "placed", "placing": "placed", "cancel": "cancelled", "ship": "shipped", "shipping": "shipped",
		"pay": "paid", "sended": "sent", "paying": "paid", "losed": "lost", "send": "sent", "sends": "sent", "apply": "applied",
		"applies": "applied", "edit": "edited", "deploy": "deployed", "need": "needed", "reservation-release": "reservation-released",
		"succeed": "succeeded", "issuing": "issued", "creating": "created", "process": "processed", "reading": "read",
		"passes": "passed", "goes": "gone", "closes": "closed", "winning": "won", "running": "run", "hand-over": "handed-over", "parcel-hand-over": "parcel-handed-over", "checking-in": "checked-in",
	} {
		if ok, got := pastTense(verb); ok || got != want {
			t.Errorf("%s: %v, suggests %s, want %s", verb, ok, got, want)
		}
	}
}
