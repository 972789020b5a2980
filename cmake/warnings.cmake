add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -fpch-preprocess)
if(ME2_WERROR)
  add_compile_options(-Werror)
endif()
