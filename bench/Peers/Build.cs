using System.ComponentModel;
using System.Diagnostics;
using System.Reflection;

namespace Dmb.Bench.Peers;

/// <summary>
/// Makes servers ready to start, in a folder beside this program; what is newer than its sources is kept.
/// </summary>
internal static class Build
{
    private const string NchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so";

    private static readonly string[] ReadyToRun = ["--no-self-contained", "-p:PublishReadyToRun=true"];

    private static readonly string Sources = typeof(Build)
        .Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(data => data.Key == "BenchFolder")
        .Value!;

    private static readonly string Cache = Path.Combine(AppContext.BaseDirectory, "peers");

    /// <summary>The tree that the benchmarks belong to.</summary>
    public static string Repository { get; } = Path.GetDirectoryName(Sources.TrimEnd('/'))!;

    /// <summary>How our own server was built, a sentence; empty as long as it was not.</summary>
    public static string Ours { get; private set; } = "";

    /// <summary>Where something of a server lies once it is ready.</summary>
    public static string Folder(string server, string file) => Path.Combine(Cache, server, file);

    /// <summary>A program, or a .dll to be run by dotnet.</summary>
    public static ProcessStartInfo Program(string path)
    {
        path = File.Exists(path) ? path : Path.Combine(AppContext.BaseDirectory, "Dmb.dll");
        return path.EndsWith(".dll", StringComparison.Ordinal)
            ? new ProcessStartInfo("dotnet", [path])
            : new ProcessStartInfo(path);
    }

    /// <summary>Nothing to do but to look for it.</summary>
    public static void Nothing(string path)
    {
        if (!File.Exists(path))
        {
            throw new IOException($"there is no {path}");
        }
    }

    /// <summary>
    /// Published with ReadyToRun, where its compiler can be had; otherwise the one beside this program serves.
    /// </summary>
    public static void Dmb()
    {
        if (Ours.Length > 0)
        {
            return;
        }

        try
        {
            Publish(Path.Combine(Repository, "Dmb.csproj"), "dmb", ReadyToRun);
            Ours = "DMB is published with ReadyToRun.";
        }
        catch (IOException e)
        {
            File.Delete(Folder("dmb", "Dmb"));
            Ours = "DMB is run as built: no ReadyToRun build could be had.";
            Console.Error.WriteLine(e.Message);
        }
    }

    /// <summary>Published with Native AOT.</summary>
    public static void Native()
    {
        if (!File.Exists("/usr/bin/clang"))
        {
            throw new IOException("Native AOT: apt-get install clang lld zlib1g-dev");
        }

        Publish(Path.Combine(Repository, "Dmb.csproj"), "dmb-aot", "-p:PublishProfile=linux-x64-aot");
    }

    public static void Nginx()
    {
        if (!File.Exists("/usr/sbin/nginx"))
        {
            throw new IOException("nginx: apt-get install nginx");
        }

        Dmb();
    }

    public static void AspNet()
    {
        if (IsOld(Path.Combine(Sources, "Peers/aspnet"), Folder("aspnet", "aspnet")))
        {
            Publish(Path.Combine(Sources, "Peers/aspnet/aspnet.csproj"), "aspnet", ReadyToRun);
        }
    }

    public static void Limit()
    {
        if (IsOld(Path.Combine(Sources, "Peers/limit"), Folder("limit", "limit")))
        {
            Directory.CreateDirectory(Path.Combine(Cache, "limit"));
            Run(
                "gcc",
                "apt-get install gcc libc6-dev",
                Sources,
                "-O2",
                "-Wall",
                "-o",
                Folder("limit", "limit"),
                Path.Combine(Sources, "Peers/limit/limit.c")
            );
        }
    }

    public static void Nchan()
    {
        if (!File.Exists(NchanModule))
        {
            throw new IOException("nginx with nchan: apt-get install nginx libnginx-mod-nchan");
        }
    }

    /// <summary>nginx as a proxy on one port in front of another.</summary>
    public static ProcessStartInfo NginxCommand(int port, int behind)
    {
        var configuration = File.ReadAllText(Path.Combine(Sources, "Peers/nginx/nginx.conf"))
            .Replace("PORT", $"{port}", StringComparison.Ordinal)
            .Replace("BEHIND", $"{behind}", StringComparison.Ordinal);
        return NginxCommand("nginx", port, configuration);
    }

    /// <summary>A receiver of webhooks on a port of 127.0.0.1 that answers 204 to all.</summary>
    public static ProcessStartInfo ReceiverCommand(int port) =>
        NginxCommand(
            "receiver",
            port,
            File.ReadAllText(Path.Combine(Sources, "Webhooks/nginx/nginx.conf"))
                .Replace("PORT", $"{port}", StringComparison.Ordinal)
        );

    public static ProcessStartInfo NchanCommand(int port, int redis)
    {
        var configuration = File.ReadAllText(Path.Combine(Sources, "Peers/nchan/nginx.conf"))
            .Replace("MODULE", NchanModule, StringComparison.Ordinal)
            .Replace("PORT", $"{port}", StringComparison.Ordinal)
            .Replace("REDIS", $"{redis}", StringComparison.Ordinal);
        configuration =
            redis > 0
                ? configuration
                : string.Join(
                    '\n',
                    configuration.Split('\n').Where(line => !line.Contains("redis", StringComparison.Ordinal))
                );
        return NginxCommand("nchan", port, configuration);
    }

    private static ProcessStartInfo NginxCommand(string server, int port, string configuration)
    {
        var folder = Directory.CreateDirectory(Folder(server, $"{port}")).FullName;
        File.WriteAllText(Path.Combine(folder, "nginx.conf"), configuration);
        return new ProcessStartInfo("nginx", ["-p", folder, "-c", "nginx.conf", "-e", "stderr"]);
    }

    public static void Node(string server) => NodeProgram(Path.Combine("Peers", server), "server.js");

    /// <summary>A program of a folder of the benchmarks, with its packages installed; gives its path.</summary>
    public static string NodeProgram(string sources, string program)
    {
        var (name, from) = (Path.GetFileName(sources), Path.Combine(Sources, sources));
        var path = Folder(name, program);
        if (!IsOld(from, path))
        {
            return path;
        }

        var folder = Directory.CreateDirectory(Path.Combine(Cache, name)).FullName;
        File.Copy(Path.Combine(from, "package.json"), Path.Combine(folder, "package.json"), true);
        Run("npm", "apt-get install nodejs npm", folder, "install", "--no-audit", "--no-fund", "--no-package-lock");
        File.Copy(Path.Combine(from, program), path, true);
        File.SetLastWriteTimeUtc(path, TimeProvider.System.GetUtcNow().UtcDateTime);
        return path;
    }

    private static bool IsOld(string sources, string program)
    {
        var made = File.GetLastWriteTimeUtc(program);
        return Directory.GetFiles(sources).Any(source => File.GetLastWriteTimeUtc(source) > made);
    }

    private static void Publish(string project, string server, params string[] kind)
    {
        // In folders of its own: what is built in the tree stays as it is.
        Run(
            "dotnet",
            "the .NET SDK",
            Repository,
            [
                "publish",
                project,
                "-c",
                "Release",
                "-r",
                "linux-x64",
                .. kind,
                "-p:UseSharedCompilation=false",
                "-nodeReuse:false",
                "--artifacts-path",
                Path.Combine(Cache, "build", server),
                "-o",
                Path.Combine(Cache, server),
            ]
        );
    }

    private static void Run(string program, string install, string folder, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        try
        {
            using var process = Process.Start(start)!;
            var errors = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd() + errors.GetAwaiter().GetResult();
            process.WaitForExit();
            if (process.ExitCode != 0)
            {
                var line = output
                    .Split('\n')
                    .FirstOrDefault(line => line.Contains("error", StringComparison.OrdinalIgnoreCase));
                throw new IOException($"{program} {arguments[0]} failed: {line ?? output.Trim()}");
            }
        }
        catch (Win32Exception)
        {
            throw new IOException($"{program}: {install}");
        }
    }
}
