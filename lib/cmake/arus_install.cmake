# What an installed arus consists of; `find_package(arus)` finds it wherever the prefix is moved to.

include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/arus")

install(TARGETS arus EXPORT arus INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY include/arus DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
install(EXPORT arus FILE arusTargets.cmake NAMESPACE arus:: DESTINATION "${package_dir}")

configure_package_config_file(lib/cmake/arusConfig.cmake.in "${PROJECT_BINARY_DIR}/arusConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/arusConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/arusConfig.cmake" "${PROJECT_BINARY_DIR}/arusConfigVersion.cmake" DESTINATION "${package_dir}")
