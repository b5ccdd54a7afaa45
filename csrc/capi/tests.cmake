# Tests of the C library, in C, on engines that stand in for real ones; included by ../CMakeLists.txt.

enable_language(C)
add_library(stand_in_engine STATIC ${tests}/stand_in_engine.cpp)
target_include_directories(stand_in_engine PUBLIC ${tests})
target_compile_options(stand_in_engine PRIVATE -Wall -Wextra -ffp-contract=off)
target_link_libraries(stand_in_engine PUBLIC mdr_capi)

function(add_c_claims name)
  add_executable(test_${name} ${tests}/test_${name}.c)
  set_target_properties(test_${name} PROPERTIES
    C_STANDARD 99 C_EXTENSIONS OFF LINKER_LANGUAGE CXX)
  target_compile_options(test_${name} PRIVATE -Wall -Wextra -pedantic-errors -Werror)
  target_compile_definitions(test_${name} PRIVATE STAND_IN
    MDR_BUNDLE="${CMAKE_CURRENT_SOURCE_DIR}/../moediff_rt/bundles/edge")
  target_link_libraries(test_${name} PRIVATE stand_in_engine m)
  add_test(NAME ${name} COMMAND test_${name})
endfunction()
foreach(name c_library c_threads c_device_memory)
  add_c_claims(${name})
endforeach()

# What is counted is not what a sanitizer's allocator takes.
if(NOT MOEDIFF_RT_SANITIZE)
  add_c_claims(c_memory)
  target_sources(test_c_memory PRIVATE ${tests}/counted_memory.cpp)
endif()

add_claims(c_guard)
target_link_libraries(test_c_guard PRIVATE stand_in_engine)
