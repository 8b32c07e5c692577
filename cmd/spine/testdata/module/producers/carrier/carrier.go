// Package carrier tells what a carrier reports of parcels.
package carrier

import (
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/schemas/common"

	"example.com/harbour/schemas/parcel"
)

const headerSignature = "X-Carrier-Signature"

// Adapter is all that the carrier can tell us.
func Adapter() producer.Adapter {
	return producer.Adapter{
		System: "carrier",
		IDTime: time.Second,
		Webhooks: []producer.Webhook{{
			Verify: producer.HMACSHA256(headerSignature, producer.Hex),
			Kind:   producer.JSONField("event"),
			Key:    func(_ string, h http.Header, body []byte) string { return producer.JSONField("parcel")(h, body) },
		}},
		Objects: []producer.Object{producer.Report("collected", collected, parcel.CollectedV1{})},
		Day: producer.Day{
			Instances: []event.Instance{{System: "carrier", Name: "main", BaseCurrency: "EUR", TimeZone: "Europe/Berlin"}},
			Calls:     calls,
		},
	}
}

type report struct {
	Event    string        `json:"event"`
	Parcel   string        `json:"parcel"`
	At       time.Time     `json:"at"`
	Postage  money.Decimal `json:"postage"`
	Currency string        `json:"currency"`
}

func collected(d producer.Delivery, r report) ([]event.New, error) {
	return []event.New{{
		Fact: parcel.CollectedV1{
			ParcelRef:   common.Ref{System: "carrier", Instance: d.Instance.Name, Object: "parcel", ID: r.Parcel},
			CollectedAt: r.At,
			Postage:     common.Money{Amount: r.Postage, Currency: r.Currency},
		},
		Entity: r.Parcel, At: r.At,
	}}, nil
}

// calls are one signed report a parcel, the first of them twice, and one that
// somebody else signed.
func calls(_ uint64, parcels int, shops []producer.Shop) iter.Seq[producer.Call] {
	return func(yield func(producer.Call) bool) {
		for _, shop := range shops {
			call := func(n int, secret []byte, want int) bool {
				body := fmt.Appendf(nil, `{"event":"collected","parcel":"P-%d","at":"2026-03-14T11:20:%02dZ","postage":"4.99","currency":"EUR"}`, n, n%60)
				return yield(producer.Call{
					Instance: shop.Instance.String(), Body: body, Expect: want, Header: http.Header{
						"Content-Type": {"application/json"}, headerSignature: {producer.SignHMACSHA256(secret, body, producer.Hex)},
					},
				})
			}
			for n := range parcels {
				if !call(n, shop.Secret, http.StatusOK) {
					return
				}
			}
			if !call(0, shop.Secret, http.StatusOK) || !call(0, []byte("somebody else"), http.StatusUnauthorized) {
				return
			}
		}
	}
}
