using System.Runtime.InteropServices;

namespace Dmb.Tests.Deploy;

/// <summary>What the publish of the native program says before it compiles, on machines with and without its tools.</summary>
public sealed class NativeToolsTests
{
    private const string Missing =
        "Native AOT needs clang, lld and zlib's headers. On Debian: apt-get install clang lld zlib1g-dev";

    [Theory]
    [InlineData(false, "")]
    [InlineData(false, "clang")]
    [InlineData(false, "clang! ld.lld")]
    [InlineData(true, "clang ld.lld")]
    public async Task A_missing_tool_is_named_with_the_packages_to_install(bool isComplete, string tools)
    {
        // The only programs of the machine: a shell, and these tools. One with ! fails, as clang does without zlib's header.
        var path = Directory.CreateTempSubdirectory("dmb-tools-");
        File.CreateSymbolicLink(Path.Combine(path.FullName, "sh"), "/bin/sh");
        foreach (var tool in tools.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            var (name, works) = (tool.TrimEnd('!'), !tool.EndsWith('!'));
            File.CreateSymbolicLink(Path.Combine(path.FullName, name), works ? "/bin/true" : "/bin/false");
        }

        try
        {
            await using var publish = ChildProcess.Start(
                Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet"),
                [
                    "msbuild",
                    "Dmb.csproj",
                    "-t:FindNativeTools",
                    "-p:PublishProfile=linux-x64-aot",
                    "-nodeReuse:false",
                    "-nologo",
                ],
                Repository.Root,
                ("PATH", path.FullName)
            );
            var code = await publish.EndAsync();
            Assert.Equal(isComplete, code == 0);
            Assert.Equal(
                !isComplete,
                publish.Lines.Any(line => line.Contains($": error : {Missing}", StringComparison.Ordinal))
            );
        }
        finally
        {
            path.Delete(recursive: true);
        }
    }
}
