using System.Collections.Concurrent;

namespace Dmb.Tests.Support;

/// <summary>A folder with a package.json, whose packages <c>npm ci</c> installs once from the lock file.</summary>
public sealed class NpmFolder
{
    private static readonly ConcurrentDictionary<string, Lazy<Task<NpmFolder>>> Opened = [];

    private NpmFolder(string path) => Path = path;

    public string Path { get; }

    /// <summary>The folder of the repository, its packages installed.</summary>
    public static Task<NpmFolder> OpenAsync(string folder) =>
        Opened
            .GetOrAdd(System.IO.Path.Combine(Repository.Root, folder), path =>
                new(() => new NpmFolder(path).InstallAsync())
            )
            .Value;

    /// <summary>Runs a program in the folder, and gives what it printed; it must succeed.</summary>
    public async Task<string> RunAsync(string program, params string[] arguments)
    {
        await using var process = ChildProcess.Start(program, arguments, Path);
        var code = await process.EndAsync();
        Assert.True(code == 0, $"{program} {string.Join(' ', arguments)}: {code}\n{string.Join('\n', process.Lines)}");
        return string.Join('\n', process.Lines.Except(process.Errors));
    }

    private async Task<NpmFolder> InstallAsync()
    {
        var (wanted, installed) = (
            new FileInfo(System.IO.Path.Combine(Path, "package-lock.json")),
            new FileInfo(System.IO.Path.Combine(Path, "node_modules", ".package-lock.json"))
        );
        if (!installed.Exists || installed.LastWriteTimeUtc < wanted.LastWriteTimeUtc)
        {
            await RunAsync("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts");
        }

        return this;
    }
}
