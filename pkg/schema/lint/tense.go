package lint

import "strings"

// irregular are the past participles that don't end in "ed", by their verb.
var irregular = map[string]string{
	"begin": "begun", "bid": "bid", "bind": "bound", "break": "broken", "bring": "brought", "build": "built", "buy": "bought",
	"choose": "chosen", "cut": "cut", "deal": "dealt", "do": "done", "draw": "drawn", "drive": "driven", "fall": "fallen",
	"feed": "fed", "find": "found", "forget": "forgotten", "freeze": "frozen", "get": "got", "give": "given", "go": "gone", "grow": "grown",
	"hide": "hidden", "hit": "hit", "hold": "held", "keep": "kept", "know": "known", "lay": "laid", "lead": "led", "leave": "left",
	"lend": "lent", "let": "let", "lose": "lost", "make": "made", "meet": "met", "outbid": "outbid", "overdraw": "overdrawn",
	"overpay": "overpaid", "pay": "paid", "prepay": "prepaid", "put": "put", "quit": "quit", "read": "read", "rebuild": "rebuilt",
	"reset": "reset", "resell": "resold", "resend": "resent", "rise": "risen", "run": "run", "see": "seen", "sell": "sold",
	"send": "sent", "set": "set", "shut": "shut", "spend": "spent", "split": "split", "swear": "sworn", "take": "taken",
	"teach": "taught", "tell": "told", "think": "thought", "throw": "thrown", "understand": "understood", "undo": "undone",
	"upset": "upset", "win": "won", "withdraw": "withdrawn", "write": "written",
}

// notPast end in "ed" and are no participles.
var notPast = map[string]bool{
	"bleed": true, "breed": true, "embed": true, "exceed": true, "feed": true, "heed": true, "need": true, "proceed": true,
	"seed": true, "shred": true, "speed": true, "succeed": true, "weed": true,
}

// particles follow a verb and have no tense: handed-over, checked-in.
var particles = map[string]bool{
	"away": true, "back": true, "down": true, "in": true, "off": true, "on": true, "out": true, "over": true, "through": true, "up": true,
}

// doubling are the verbs whose last letter doubles before "ed".
var doubling = map[string]bool{
	"admit": true, "bar": true, "cancel": true, "clip": true, "commit": true, "control": true, "drop": true, "embed": true,
	"flag": true, "label": true, "log": true, "map": true, "model": true, "omit": true, "permit": true, "pin": true, "plan": true,
	"prefer": true, "refer": true, "scan": true, "ship": true, "shred": true, "skip": true, "stop": true, "submit": true, "swap": true, "tag": true,
	"total": true, "transfer": true, "trim": true, "unship": true, "wrap": true,
}

// pastTense says whether the last word of a verb is a past participle, and if
// not, what the verb should be: place is placed, termination-rescind is
// termination-rescinded, losed is lost.
func pastTense(verb string) (ok bool, suggestion string) {
	head, word := "", verb
	if i := strings.LastIndexByte(verb, '-'); i >= 0 {
		head, word = verb[:i+1], verb[i+1:]
	}
	for _, past := range irregular {
		if word == past {
			return true, verb
		}
	}
	if i := strings.LastIndexByte(strings.TrimSuffix(head, "-"), '-') + 1; particles[word] && head != "" {
		ok, past := pastTense(strings.TrimSuffix(head[i:], "-")) // a verb with its particle: hand-over is handed-over
		return ok, head[:i] + past + "-" + word
	}
	stem, isPast := strings.CutSuffix(word, "ed")
	if isPast && !notPast[word] {
		for _, base := range []string{stem, stem + "e"} { // sended, losed
			if past, wrong := irregular[base]; wrong {
				return false, head + past
			}
		}
		return true, verb
	}
	return false, head + participle(base(word))
}

// base undoes the present forms: places and placing are place.
func base(word string) string {
	if stem, found := strings.CutSuffix(word, "ing"); found && len(stem) > 2 {
		return baseOfIng(stem)
	}
	for _, s := range []string{"s", "es"} {
		if stem, found := strings.CutSuffix(word, s); found && listed(stem) {
			return stem
		}
	}
	if stem, found := strings.CutSuffix(word, "ies"); found {
		return stem + "y"
	}
	if stem, found := strings.CutSuffix(word, "s"); found && !strings.HasSuffix(stem, "s") {
		return stem
	}
	return word
}

// baseOfIng finds the verb of what stands before "ing": shipp is ship, plac is place.
func baseOfIng(stem string) string {
	n := len(stem)
	if listed(stem) {
		return stem
	}
	if stem[n-1] == stem[n-2] && listed(stem[:n-1]) {
		return stem[:n-1]
	}
	if endsLikeE(stem) {
		return stem + "e"
	}
	return stem
}

func listed(verb string) bool { return irregular[verb] != "" || doubling[verb] }

// endsLikeE guesses whether a stem lost an e: plac, issu, creat, reserv.
func endsLikeE(stem string) bool {
	for _, end := range []string{"c", "u", "v", "at", "s", "z", "g"} {
		if strings.HasSuffix(stem, end) {
			return true
		}
	}
	return false
}

func participle(verb string) string {
	switch n := len(verb); {
	case irregular[verb] != "":
		return irregular[verb]
	case doubling[verb]:
		return verb + verb[n-1:] + "ed"
	case strings.HasSuffix(verb, "e"):
		return verb + "d"
	case n > 1 && verb[n-1] == 'y' && !strings.ContainsRune("aeiou", rune(verb[n-2])):
		return verb[:n-1] + "ied"
	}
	return verb + "ed"
}
