# SPDX-License-Identifier: BSD-3-Clause
# Links BLAS to `sae`. The vendored one is copied under a name of its own, in file and SONAME, so that it is
# never mistaken for another package's copy in the same process, and found beside the extension. By the start
# of the name threadpoolctl knows an OpenBLAS.
if(SAE_FAST_BLAS STREQUAL "system")
  find_package(BLAS REQUIRED)
  target_link_libraries(sae PUBLIC BLAS::BLAS)
  target_compile_definitions(sae PRIVATE SAE_FAST_BLAS_LIBRARIES="${BLAS_LIBRARIES}")
elseif(SAE_FAST_BLAS STREQUAL "vendored")
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import scipy_openblas32 as b, importlib.metadata as m; print(b.get_lib_dir(), [f.locate().resolve() for f in m.files('scipy-openblas32') if f.name.startswith('LICENSE')][0], sep=';')"
    OUTPUT_VARIABLE openblas OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  list(GET openblas 0 openblas_dir)
  list(GET openblas 1 openblas_licence)
  set(vendored "${CMAKE_CURRENT_BINARY_DIR}/vendored")
  set(library "${vendored}/libopenblas_sae_fast${CMAKE_SHARED_LIBRARY_SUFFIX}")
  file(MAKE_DIRECTORY "${vendored}")
  configure_file("${openblas_dir}/libscipy_openblas${CMAKE_SHARED_LIBRARY_SUFFIX}" "${library}" COPYONLY)
  get_filename_component(library_name "${library}" NAME)
  set(linked "${library}")
  if(WIN32)
    # The name that is asked for stands in the import library: this copy gets one of its own.
    find_program(DLLTOOL NAMES llvm-dlltool REQUIRED)
    set(linked "${vendored}/openblas_sae_fast.lib")
    file(WRITE "${vendored}/openblas.def"
      "EXPORTS\nscipy_cblas_sgemm\nscipy_cblas_dgemm\nscipy_openblas_set_num_threads\n"
      "scipy_openblas_get_num_threads\nscipy_openblas_get_config\nscipy_openblas_get_corename\n")
    execute_process(COMMAND "${DLLTOOL}" -m i386:x86-64 -D "${library_name}" -d "${vendored}/openblas.def" -l "${linked}"
      COMMAND_ERROR_IS_FATAL ANY)
  elseif(APPLE)
    execute_process(COMMAND install_name_tool -id "@rpath/${library_name}" "${library}" COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND codesign --force --sign - "${library}" COMMAND_ERROR_IS_FATAL ANY)  # the name was signed too
    set_target_properties(_core PROPERTIES INSTALL_RPATH "@loader_path")
  else()
    find_program(PATCHELF patchelf REQUIRED)
    execute_process(COMMAND "${PATCHELF}" --set-soname "${library_name}" "${library}" COMMAND_ERROR_IS_FATAL ANY)
    set_target_properties(_core PROPERTIES INSTALL_RPATH "$ORIGIN")
  endif()
  target_link_libraries(sae PUBLIC "${linked}")
  target_compile_definitions(sae PRIVATE SAE_FAST_BLAS_VENDORED)
  install(FILES "${library}" DESTINATION sae_fast)
  install(FILES "${openblas_licence}" DESTINATION sae_fast RENAME LICENSE-openblas.txt)
else()
  message(FATAL_ERROR "SAE_FAST_BLAS is '${SAE_FAST_BLAS}'; expected vendored or system")
endif()
