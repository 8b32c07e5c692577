package money

import "fmt"

// exponents lists the ISO 4217 currencies (list one, 2026-01) whose minor unit is not
// a hundredth; twoPlaces lists the others.
var exponents = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
	"UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

const twoPlaces = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD " +
	"CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD " +
	"HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU " +
	"MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK " +
	"SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD " +
	"XCG YER ZAR ZMW ZWG"

// Exponent is the number of decimal places of a currency by ISO 4217: 2 for EUR, 0
// for JPY, 3 for BHD. A code that is not a currency with a minor unit is an error.
func Exponent(currency string) (int, error) {
	if n, ok := exponents[currency]; ok {
		return n, nil
	}
	if len(currency) == 3 {
		for i := 0; i < len(twoPlaces); i += 4 {
			if twoPlaces[i:i+3] == currency {
				return 2, nil
			}
		}
	}
	return 0, fmt.Errorf("currency %q: want an ISO 4217 code such as EUR", currency)
}
