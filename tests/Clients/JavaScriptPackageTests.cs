using System.IO.Compression;
using System.Text;

namespace Dmb.Tests.Clients;

/// <summary>The npm package as those who install it get it.</summary>
[Collection<ClientPackages>]
public sealed class JavaScriptPackageTests(JavaScriptPackage package)
{
    private const int BytesMax = 5 * 1024;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_readme_runs_with_the_installed_package_also_with_Node_18(bool isOld)
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        var lines = (await DocumentPage.ReadAsync("clients/js/README.md")).Blocks("js")[0];
        await File.WriteAllTextAsync(
            Path.Combine(package.Folder, "readme.mjs"),
            lines.Replace("http://localhost:8082", $"http://127.0.0.1:{node.Port}", StringComparison.Ordinal)
        );

        await using var process = ChildProcess.Start(isOld ? package.OldNode : "node", ["readme.mjs"], package.Folder);
        await process.LineAsync("report_csr { text: 'The printer is on fire' }");
    }

    [Fact]
    public async Task The_types_compile_and_reject_misuse()
    {
        await package.Source.RunAsync("npm", "run", "--silent", "check");

        await File.WriteAllTextAsync(
            Path.Combine(package.Folder, "use.mts"),
            """
            import { Dmb, DmbError, type Gap } from '@dmb/client';
            const dmb = new Dmb('http://localhost:8082', { rooms: ['a:1'], token: async () => 'x' });
            const off: () => void = dmb.on('gap', (gap: Gap) => gap.lost);
            dmb.on('error', error => { const code: string = error.code; });
            for await (const { event, room } of dmb.messages({ max: 10 })) { const name: string = event; }
            // @ts-expect-error: no such event.
            dmb.on('massage', () => {});
            // @ts-expect-error: rooms are texts.
            new Dmb('http://localhost:8082', { rooms: [1] });
            """
        );
        await package.RunAsync(
            $"{package.Source.Path}/node_modules/.bin/tsc",
            ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2023,dom", "use.mts"]
        );
    }

    [Fact]
    public async Task Its_tests_with_a_node_that_lies_pass() =>
        await package.Source.RunAsync("npm", "test", "--silent");

    [Fact]
    public async Task Its_tests_pass_with_Node_18() =>
        await package.Source.RunAsync(package.OldNode, "--test", "test/");

    [Fact]
    public async Task Minified_and_compressed_it_is_at_most_5_KB()
    {
        var minified = await package.Source.RunAsync("npm", "run", "--silent", "minify");

        using var compressed = new MemoryStream();
        await using (var gzip = new GZipStream(compressed, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            await gzip.WriteAsync(Encoding.UTF8.GetBytes(minified));
        }

        Assert.InRange(compressed.Length, 1000, BytesMax);
    }

    [Fact]
    public async Task The_lock_file_names_no_registry()
    {
        var text = await File.ReadAllTextAsync(Path.Combine(package.Source.Path, "package-lock.json"));
        Assert.DoesNotContain("\"resolved\"", text, StringComparison.Ordinal);
    }
}
