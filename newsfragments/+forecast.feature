``status`` and the progress bar tell the time left as a middle guess and as what it takes at most in nine cases of ten (P90).
