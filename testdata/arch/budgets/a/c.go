package a

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler
