@test "me2-eval: help lists its verbs" { run -0 me2-eval --help; [[ "$output" == *retrieval* ]]; }
