import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  plugins: [react()],
  build: {
    // The content security policy allows data: URLs for images and fonts only, so every asset stays a file.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // Browsers show plain text, but download Markdown.
        assetFileNames: ({ names }) => (names.includes('README.md') ? 'tutorial.txt' : 'assets/[name]-[hash][extname]'),
      },
    },
  },
  server: { port: 5173, strictPort: true },
});
